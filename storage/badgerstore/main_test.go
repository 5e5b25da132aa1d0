package badgerstore

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childMode tells a child process of a test what to do; childDir where.
const (
	childMode = "SIDEHOOK_TEST_STORE_MODE"
	modeOpen  = "open"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if os.Getenv(childMode) == modeOpen {
			openAndReport(dir)
		}
		appendUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}
