package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// txn collects one optimistic change. Every read becomes a condition of the commit, so that a decision holds exactly
// when everything it rests on is still so.
//
// Invariant: a key is deleted only after it was read and found, so that each op changes something; feed counts on it.
type txn struct {
	ctx   context.Context
	kv    storage.KV
	now   time.Time // of everything that it changes
	conds []storage.Cond
	ops   []storage.Op
}

// get reads the record of a key into record and reports whether there is one.
func (t *txn) get(key string, record any) (bool, error) {
	p, err := t.kv.Get(t.ctx, key)
	if errors.Is(err, sidehook.ErrNotFound) {
		t.conds = append(t.conds, storage.Cond{Key: key})
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.conds = append(t.conds, storage.Cond{Key: key, Revision: p.Revision})
	return true, decode(p, record)
}

// list reads all records under a prefix. That no further one is added meanwhile is not a condition; where it matters
// the caller also reads the record that every addition changes.
func (t *txn) list(prefix string) ([]storage.Pair, error) {
	pairs, _, err := t.kv.List(t.ctx, prefix)
	for _, p := range pairs {
		t.conds = append(t.conds, storage.Cond{Key: p.Key, Revision: p.Revision})
	}
	return pairs, err
}

func (t *txn) put(key string, record any) {
	b, err := json.Marshal(record)
	if err != nil {
		panic("control: a record does not marshal: " + err.Error())
	}
	t.ops = append(t.ops, storage.Op{Key: key, Value: b})
}

// delete removes a key that was read and found.
func (t *txn) delete(key string) { t.ops = append(t.ops, storage.Op{Key: key, Delete: true}) }

// decode reads a stored record. The error names the key and never contains the value, which may be a secret.
func decode(p storage.Pair, record any) error {
	if err := json.Unmarshal(p.Value, record); err != nil {
		return fmt.Errorf("stored record %.200q is damaged (%T)", p.Key, err)
	}
	return nil
}
