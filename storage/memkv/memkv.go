// Package memkv is the reference model of storage.KV: the contract in the fewest lines, in memory. Tests compare the
// real stores with it and use it where durability does not matter. It is not for production: nothing survives Close,
// and it remembers every change ever made.
package memkv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Limits of a Commit, as the contract states them.
const (
	maxOps     = 1000
	maxValue   = 512 << 10
	maxCommit  = 1 << 20
	maxKeyLen  = 512
	watchAhead = 1024 // changes that a reader may be behind
)

// KV is an in-memory storage.KV.
type KV struct {
	mu       sync.Mutex
	closed   bool
	revision int64
	pairs    map[string]storage.Pair
	changes  []storage.Change // all, in order
	watches  map[*watch]struct{}
	ending   sync.WaitGroup // watches whose end is not finished
}

type watch struct {
	prefix string
	ch     chan storage.Change
	unhook func() bool // stops waiting for the end of the watch's context
}

var _ storage.KV = (*KV)(nil)

// New makes an empty store.
func New() *KV {
	return &KV{pairs: make(map[string]storage.Pair), watches: make(map[*watch]struct{})}
}

// Get implements storage.KV.
func (kv *KV) Get(ctx context.Context, key string) (storage.Pair, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.usable(ctx); err != nil {
		return storage.Pair{}, err
	}
	p, ok := kv.pairs[key]
	if !ok {
		return storage.Pair{}, fmt.Errorf("key %.200q: %w", key, sidehook.ErrNotFound)
	}
	return clone(p), nil
}

// List implements storage.KV.
func (kv *KV) List(ctx context.Context, prefix string) ([]storage.Pair, int64, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.usable(ctx); err != nil {
		return nil, 0, err
	}
	var pairs []storage.Pair
	for key, p := range kv.pairs {
		if strings.HasPrefix(key, prefix) {
			pairs = append(pairs, clone(p))
		}
	}
	slices.SortFunc(pairs, func(a, b storage.Pair) int { return strings.Compare(a.Key, b.Key) })
	return pairs, kv.revision, nil
}

// Commit implements storage.KV.
func (kv *KV) Commit(ctx context.Context, conds []storage.Cond, ops []storage.Op) (int64, error) {
	if err := validate(conds, ops); err != nil {
		return 0, err
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.usable(ctx); err != nil {
		return 0, err
	}
	for _, c := range conds {
		if kv.pairs[c.Key].Revision != c.Revision {
			return 0, fmt.Errorf("key %.200q: %w", c.Key, storage.ErrConflict)
		}
	}
	kv.apply(ops)
	return kv.revision, nil
}

// apply makes the changes under one new revision; ops that change nothing do not count.
func (kv *KV) apply(ops []storage.Op) {
	next := kv.revision + 1
	for _, op := range ops {
		p := storage.Pair{Key: op.Key, Value: slices.Clone(op.Value), Revision: next}
		if op.Delete {
			if _, ok := kv.pairs[op.Key]; !ok {
				continue
			}
			p.Value = nil
			delete(kv.pairs, op.Key)
		} else {
			kv.pairs[op.Key] = p
		}
		kv.revision = next
		kv.announce(storage.Change{Pair: p, Deleted: op.Delete})
	}
}

func (kv *KV) announce(c storage.Change) {
	kv.changes = append(kv.changes, c)
	for w := range kv.watches {
		if !strings.HasPrefix(c.Key, w.prefix) {
			continue
		}
		select {
		case w.ch <- c:
		default:
			kv.end(w)
		}
	}
}

// end closes a watch; kv.mu is held.
func (kv *KV) end(w *watch) {
	if _, ok := kv.watches[w]; !ok {
		return
	}
	delete(kv.watches, w)
	close(w.ch)
	if w.unhook() {
		kv.ending.Done()
	}
}

// Watch implements storage.KV.
func (kv *KV) Watch(ctx context.Context, prefix string, from int64) (<-chan storage.Change, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.usable(ctx); err != nil {
		return nil, err
	}
	var missed []storage.Change
	for _, c := range kv.changes {
		if c.Revision > from && strings.HasPrefix(c.Key, prefix) {
			missed = append(missed, c)
		}
	}
	w := &watch{prefix: prefix, ch: make(chan storage.Change, len(missed)+watchAhead)}
	for _, c := range missed {
		w.ch <- c
	}
	kv.watches[w] = struct{}{}
	kv.ending.Add(1)
	w.unhook = context.AfterFunc(ctx, func() {
		defer kv.ending.Done()
		kv.mu.Lock()
		defer kv.mu.Unlock()
		kv.end(w)
	})
	return w.ch, nil
}

// Close implements storage.KV.
func (kv *KV) Close() error {
	kv.mu.Lock()
	kv.closed = true
	for w := range kv.watches {
		kv.end(w)
	}
	kv.mu.Unlock()
	kv.ending.Wait()
	return nil
}

func (kv *KV) usable(ctx context.Context) error {
	if kv.closed {
		return storage.ErrClosed
	}
	return context.Cause(ctx)
}

func clone(p storage.Pair) storage.Pair {
	p.Value = slices.Clone(p.Value)
	return p
}

func validate(conds []storage.Cond, ops []storage.Op) error {
	if len(ops) > maxOps {
		return fmt.Errorf("commit of %d ops: at most %d: %w", len(ops), maxOps, sidehook.ErrTooLarge)
	}
	for i, c := range conds {
		if err := validKey(c.Key); err != nil {
			return sidehook.Under(fmt.Sprintf("conds[%d]", i), err)
		}
	}
	size, seen := 0, make(map[string]bool, len(ops))
	for i, op := range ops {
		if err := validKey(op.Key); err != nil {
			return sidehook.Under(fmt.Sprintf("ops[%d]", i), err)
		}
		if seen[op.Key] {
			return sidehook.Fieldf(fmt.Sprintf("ops[%d].key", i), "is given twice in one commit")
		}
		seen[op.Key] = true
		if len(op.Value) > maxValue {
			return fmt.Errorf("ops[%d]: value of %d bytes: at most %d: %w", i, len(op.Value), maxValue, sidehook.ErrTooLarge)
		}
		size += len(op.Key) + len(op.Value)
	}
	if size > maxCommit {
		return fmt.Errorf("commit of %d bytes: at most %d: %w", size, maxCommit, sidehook.ErrTooLarge)
	}
	return nil
}

func validKey(key string) error {
	switch {
	case key == "":
		return sidehook.Fieldf("key", "is empty")
	case len(key) > maxKeyLen:
		return sidehook.Fieldf("key", "must be at most %d bytes", maxKeyLen)
	case key[0] == '/':
		return sidehook.Fieldf("key", "must not start with a slash")
	}
	return nil
}
