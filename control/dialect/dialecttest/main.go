package dialecttest

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

// Main is the TestMain of a dialect: no test leaves a goroutine behind.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// Mount serves a dialect under its patterns, as the control plane does.
func Mount(patterns []string, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, h)
	}
	return mux
}
