package app

import (
	"os"
	"runtime/debug"
)

// gcPercent is when the garbage collector of a process that holds a queue runs, unless GOGC says otherwise. Most of its
// heap are Badger's buffers, which hold no pointers: collecting them is cheap, and waiting until the heap has doubled
// costs about a third of the memory under load (bench row "one": 281-245 MB at 100, 215-209 MB at 40, CPU within noise).
const gcPercent = 40

// tuneMemory sets the collector for the whole process, so only what runs a process calls it.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
