package storage

import (
	"context"
	"errors"
)

// KV is the small, consistent key-value store that the control plane keeps its state in: Badger on one node, etcd on
// several. Keys are paths without a leading slash. Revisions grow with every change of the store and survive a restart.
type KV interface {
	// Get returns the pair, or sidehook.ErrNotFound.
	Get(ctx context.Context, key string) (Pair, error)
	// List returns the pairs whose keys start with prefix, by key, and the store's revision at that moment.
	List(ctx context.Context, prefix string) ([]Pair, int64, error)
	// Commit applies all ops in one durable step if all conditions hold, else returns ErrConflict and changes nothing.
	// It returns the new revision; ops that change nothing do not grow it. At most 1000 ops, a key at most once, keys at
	// most 512 bytes, each value at most 512 KiB, and keys and values together at most 1 MiB.
	Commit(ctx context.Context, conds []Cond, ops []Op) (int64, error)
	// Watch sends the changes after revision from whose keys start with prefix, in order (those of one commit in the
	// order of its ops), until ctx ends or the store
	// closes; then the channel is closed. It closes early, too, when the reader falls too far behind: List and watch
	// again. ErrCompacted when from is too old to know.
	Watch(ctx context.Context, prefix string, from int64) (<-chan Change, error)
	// Close ends all watches and closes the store.
	Close() error
}

// Errors of a KV.
var (
	// ErrConflict: a condition of Commit did not hold; read again and decide again.
	ErrConflict = errors.New("changed meanwhile")
	// ErrCompacted: the watch cannot start from that revision; List and watch from there.
	ErrCompacted = errors.New("revision is too old to watch from")
)

// Pair is a key with its value and the revision of its last change.
type Pair struct {
	Key      string
	Value    []byte
	Revision int64
}

// Cond holds when the key's last change has exactly this revision; 0: the key does not exist.
type Cond struct {
	Key      string
	Revision int64
}

// Op puts a value under a key or, with Delete, removes the key.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
}

// Change is a Pair that was put, or removed when Deleted (then Value is nil).
type Change struct {
	Pair
	Deleted bool
}
