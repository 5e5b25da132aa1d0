//go:build !unix

package send

// nothingToRead cannot tell here; a stale connection is found when a request fails on it.
func nothingToRead(uintptr) bool { return true }
