package e2e

import (
	"context"
	"errors"
	"testing"
	"time"
)

// patience bounds every wait. A machine under load may be slow; a test that passes never waits that long.
const patience = 60 * time.Second

// await asks until check returns nil, and fails the test with its last error when that does not come.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	if err := awaitErr(t.Context(), check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// awaitErr is await for goroutines other than the test's own.
func awaitErr(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("still so after a minute"))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
