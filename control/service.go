package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Options of a Service.
type Options struct {
	// KV holds everything the service knows. Required. The service does not close it.
	KV storage.KV
	// MaxWebhooks is how many webhooks an app may have. Default sidehook.DefaultMaxWebhooks.
	MaxWebhooks int
	// AutoDisableAfter is for how long a webhook may do nothing but fail before NoteHealth disables it; 0 for ever.
	AutoDisableAfter time.Duration
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger; nil for none. Secrets and tokens are never logged.
	Logger *slog.Logger
}

// Service manages apps, webhooks, secrets and tokens. Its rules (limits, unique names) hold under concurrent calls, also
// of other processes on the same store. Errors are *sidehook.FieldError for bad input, *ConflictError where the input
// collides with what is there, and sidehook.ErrNotFound; anything else is trouble of the store. All methods may be
// called concurrently.
type Service struct {
	kv          storage.KV
	maxWebhooks int
	clock       func() time.Time
	log         *slog.Logger
	feed        *feed
	autoDisable time.Duration
	failing     failing
}

// New makes a service. It answers at once; Start is what pushes configuration.
func New(opts Options) (*Service, error) {
	if opts.KV == nil {
		return nil, errors.New("control: Options.KV is required")
	}
	if opts.MaxWebhooks <= 0 {
		opts.MaxWebhooks = sidehook.DefaultMaxWebhooks
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		kv: opts.KV, maxWebhooks: opts.MaxWebhooks, clock: opts.Now, log: opts.Logger, feed: newFeed(opts.KV, opts.Logger),
		autoDisable: opts.AutoDisableAfter,
	}, nil
}

// now is the time as it is stored: UTC, to the microsecond.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// ConflictError says that the input is well-formed but collides with what is there.
type ConflictError struct {
	// Field of the input; empty where no single field is at fault.
	Field  string
	Reason string

	format string
	args   []any
}

// Template returns what Reason was made of, as that of sidehook.FieldError does; empty when it is not known.
func (e *ConflictError) Template() (format string, args []any) { return e.format, e.args }

func (e *ConflictError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

func conflictf(field, format string, args ...any) *ConflictError {
	return &ConflictError{Field: field, Reason: fmt.Sprintf(format, args...), format: format, args: args}
}

// ErrBusy: the same things are being changed by so many that this change found no gap; trying again can help.
var ErrBusy = errors.New("too many changes at once")

func notFound(what, id string) error {
	return fmt.Errorf("%s %.80q: %w", what, id, sidehook.ErrNotFound)
}

// Bounds of trying a change again after somebody else was faster.
const (
	maxTries = 300
	maxPause = 20 * time.Millisecond
)

// change lets decide read and write through t and commits what it decided, provided that nothing it read has changed
// meanwhile; else decide runs again. decide must set its results anew on every run. When change returns nil, the change
// is durable and was handed to the Publisher.
func (s *Service) change(ctx context.Context, decide func(t *txn) error) error {
	for try := range maxTries {
		t := &txn{ctx: ctx, kv: s.kv, now: s.now()}
		if err := decide(t); err != nil {
			return err
		}
		if len(t.ops) == 0 {
			return nil
		}
		revision, err := s.kv.Commit(ctx, t.conds, t.ops)
		if err == nil {
			s.feed.waitFor(ctx, revision, len(t.ops))
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
	return ErrBusy
}

// pause waits a random while that grows with the number of tries, so that those who collide spread out.
func pause(ctx context.Context, try int) error {
	limit := min(maxPause, time.Duration(try+1)*time.Millisecond)
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
