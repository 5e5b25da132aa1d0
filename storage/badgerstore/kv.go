package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// KVOptions are the choices of OpenKV; the zero value is good.
type KVOptions struct {
	// MinFreeDisk refuses commits that put something while the file system has fewer bytes free; deletes still go
	// through. Badger maps its files, so that a full disk would kill the process. Default 64 MiB; negative: no check.
	MinFreeDisk int64
	// WatchBuffer is how many changes a reader of Watch may be behind before its watch ends early. Default 1024.
	WatchBuffer int
	// WatchHistory is how many of the last changes are remembered, in memory, for watches that start in the past; older
	// ones are ErrCompacted, as are all after a restart. Their values are bounded at 8 MiB together. Default 4096.
	WatchHistory int
	// Logger gets Badger's warnings and errors; nil for none.
	Logger *slog.Logger

	freeDisk func(dir string) (int64, error) // tests
}

func (o KVOptions) withDefaults() KVOptions {
	if o.MinFreeDisk == 0 {
		o.MinFreeDisk = 64 << 20
	}
	if o.WatchBuffer <= 0 {
		o.WatchBuffer = 1024
	}
	if o.WatchHistory <= 0 {
		o.WatchHistory = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.freeDisk == nil {
		o.freeDisk = freeBytes
	}
	return o
}

// Limits of a Commit, as storage.KV states them; kvMaxCommit keeps one within a Badger transaction, which takes 15% of
// a memory table.
const (
	kvMaxOps      = 1000
	kvMaxValue    = 512 << 10
	kvMaxCommit   = 1 << 20
	kvMaxKey      = 512
	kvMemTable    = 8 << 20
	kvRevisionLen = 8
)

// Keys in Badger: the pair of a key is under kvPairPrefix+key, as 8 bytes of revision (big endian) and the value; the
// store's revision is under kvRevisionKey.
const kvPairPrefix = "k"

var kvRevisionKey = []byte("r")

// kvStore is a storage.KV on Badger.
//
// Invariant: committing is held from reading the store's revision until the commit is announced, so revisions grow by
// one, in commit order, and watches see them in that order. Readers need no lock against writers: a Badger transaction
// is a consistent snapshot, and it holds the revision beside the pairs.
type kvStore struct {
	dir  string
	opts KVOptions
	feed *kvFeed

	committing sync.Mutex

	using  sync.RWMutex // held for reading while db is in use, for writing to close it
	closed bool
	db     *badger.DB
}

// OpenKV opens the control plane's key-value store in dir, making it if need be. Every commit is on disk when Commit
// returns. Only one process can have dir open.
func OpenKV(dir string, opts KVOptions) (storage.KV, error) {
	opts = opts.withDefaults()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the store: %w", err)
	}
	kv := &kvStore{dir: dir, opts: opts}
	if err := kv.checkDisk(opts.MinFreeDisk / 2); err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	db, err := badger.Open(kvBadgerOptions(dir, opts.Logger))
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", dir, err)
	}
	kv.db = db
	revision, err := kv.readRevision()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store in %s: %w", dir, err), db.Close())
	}
	kv.feed = newKVFeed(revision, opts.WatchBuffer, opts.WatchHistory)
	return kv, nil
}

// kvBadgerOptions is a small profile: the store holds megabytes, is written by people, and shares its machine. Values
// stay in the LSM tree, where a failed fsync is an error and not only a log line.
func kvBadgerOptions(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithLogger(kvLogger{log}).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // committing serialises writers
		WithNumVersionsToKeep(1).
		WithMemTableSize(kvMemTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(4).
		WithNumCompactors(2).
		WithCompactL0OnClose(false).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(4 << 20).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(16 << 20)
}

// use runs f while the store is sure to stay open.
func (kv *kvStore) use(ctx context.Context, f func() error) error {
	kv.using.RLock()
	defer kv.using.RUnlock()
	if kv.closed {
		return storage.ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f()
}

// Get implements storage.KV.
func (kv *kvStore) Get(ctx context.Context, key string) (storage.Pair, error) {
	var p storage.Pair
	err := kv.use(ctx, func() error {
		return kv.db.View(func(txn *badger.Txn) error {
			item, err := txn.Get(kvPairKey(key))
			if err != nil {
				return err
			}
			p, err = kvPair(item)
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) || errors.Is(err, badger.ErrEmptyKey) {
		err = sidehook.ErrNotFound
	}
	if err != nil {
		return storage.Pair{}, fmt.Errorf("get %.200q: %w", key, err)
	}
	return p, nil
}

// List implements storage.KV.
func (kv *kvStore) List(ctx context.Context, prefix string) ([]storage.Pair, int64, error) {
	var pairs []storage.Pair
	var revision int64
	err := kv.use(ctx, func() error {
		return kv.db.View(func(txn *badger.Txn) (err error) {
			if revision, err = kvRevision(txn); err != nil {
				return err
			}
			pairs, err = kvScan(ctx, txn, kvPairKey(prefix))
			return err
		})
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list %.200q: %w", prefix, err)
	}
	return pairs, revision, nil
}

func kvScan(ctx context.Context, txn *badger.Txn, prefix []byte) ([]storage.Pair, error) {
	iteration := badger.DefaultIteratorOptions
	iteration.Prefix = prefix
	it := txn.NewIterator(iteration)
	defer it.Close()
	var pairs []storage.Pair
	for it.Rewind(); it.Valid(); it.Next() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p, err := kvPair(it.Item())
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// Commit implements storage.KV. Beyond the contract's limits it returns *sidehook.FullError when the disk is nearly
// full. When Badger fails, what became of the commit is unknown; all watches end, so that nobody misses it.
func (kv *kvStore) Commit(ctx context.Context, conds []storage.Cond, ops []storage.Op) (int64, error) {
	puts, err := kvValidate(conds, ops)
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	if puts {
		if err := kv.checkDisk(kv.opts.MinFreeDisk); err != nil {
			return 0, fmt.Errorf("commit: %w", err)
		}
	}
	var revision int64
	err = kv.use(ctx, func() (err error) {
		kv.committing.Lock()
		defer kv.committing.Unlock()
		revision, err = kv.commit(conds, ops)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	return revision, nil
}

// commit does a commit; kv.committing is held.
func (kv *kvStore) commit(conds []storage.Cond, ops []storage.Op) (int64, error) {
	txn := kv.db.NewTransaction(true)
	defer txn.Discard()
	revision, err := kvRevision(txn)
	if err != nil {
		return 0, err
	}
	if err := kvCheck(txn, conds); err != nil {
		return 0, err
	}
	changes, err := kvApply(txn, ops, revision+1)
	if err != nil || len(changes) == 0 {
		return revision, err
	}
	revision++
	if err := txn.Set(kvRevisionKey, binary.BigEndian.AppendUint64(nil, uint64(revision))); err != nil {
		return 0, err
	}
	if err := txn.Commit(); err != nil {
		return 0, errors.Join(err, kv.afterFailure())
	}
	kv.feed.announce(changes)
	return revision, nil
}

// afterFailure starts the feed anew from what the store now shows.
func (kv *kvStore) afterFailure() error {
	revision, err := kv.readRevision()
	if err == nil {
		kv.feed.reset(revision)
	}
	return err
}

func kvCheck(txn *badger.Txn, conds []storage.Cond) error {
	for _, c := range conds {
		revision, err := kvRevisionOf(txn, c.Key)
		if err != nil {
			return err
		}
		if revision != c.Revision {
			return fmt.Errorf("key %.200q: %w", c.Key, storage.ErrConflict)
		}
	}
	return nil
}

// kvApply makes the changes in txn and returns those that change something.
func kvApply(txn *badger.Txn, ops []storage.Op, revision int64) ([]storage.Change, error) {
	changes := make([]storage.Change, 0, len(ops))
	for _, op := range ops {
		change := storage.Change{Pair: storage.Pair{Key: op.Key, Revision: revision}, Deleted: op.Delete}
		if op.Delete {
			old, err := kvRevisionOf(txn, op.Key)
			if err != nil {
				return nil, err
			}
			if old == 0 {
				continue
			}
			if err := txn.Delete(kvPairKey(op.Key)); err != nil {
				return nil, err
			}
		} else {
			stored := make([]byte, kvRevisionLen, kvRevisionLen+len(op.Value))
			binary.BigEndian.PutUint64(stored, uint64(revision))
			stored = append(stored, op.Value...)
			if err := txn.Set(kvPairKey(op.Key), stored); err != nil {
				return nil, err
			}
			change.Value = append([]byte{}, op.Value...) // Badger owns stored, the caller op.Value
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// Watch implements storage.KV. The changes are shared by all watches: their values must not be changed.
func (kv *kvStore) Watch(ctx context.Context, prefix string, from int64) (<-chan storage.Change, error) {
	var ch <-chan storage.Change
	err := kv.use(ctx, func() (err error) {
		ch, err = kv.feed.watch(ctx, prefix, from)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch %.200q from %d: %w", prefix, from, err)
	}
	return ch, nil
}

// Close implements storage.KV.
func (kv *kvStore) Close() error {
	kv.using.Lock()
	defer kv.using.Unlock()
	if kv.closed {
		return nil
	}
	kv.closed = true
	kv.feed.close()
	if err := kv.db.Close(); err != nil {
		return fmt.Errorf("close store in %s: %w", kv.dir, err)
	}
	return nil
}

func (kv *kvStore) readRevision() (revision int64, err error) {
	err = kv.db.View(func(txn *badger.Txn) error {
		revision, err = kvRevision(txn)
		return err
	})
	return revision, err
}

// kvRevision reads the store's revision, 0 in a new store.
func kvRevision(txn *badger.Txn) (int64, error) {
	item, err := txn.Get(kvRevisionKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return kvRevisionIn(item)
}

// kvRevisionOf reads the revision of a key's last change, 0 when there is no such key.
func kvRevisionOf(txn *badger.Txn, key string) (int64, error) {
	item, err := txn.Get(kvPairKey(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return kvRevisionIn(item)
}

func kvRevisionIn(item *badger.Item) (revision int64, err error) {
	err = item.Value(func(stored []byte) error {
		if len(stored) < kvRevisionLen {
			return fmt.Errorf("stored value of %.200q is cut short", item.Key())
		}
		revision = int64(binary.BigEndian.Uint64(stored))
		return nil
	})
	return revision, err
}

func kvPair(item *badger.Item) (storage.Pair, error) {
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return storage.Pair{}, err
	}
	if len(stored) < kvRevisionLen {
		return storage.Pair{}, fmt.Errorf("stored value of %.200q is cut short", item.Key())
	}
	return storage.Pair{
		Key: string(item.Key()[len(kvPairPrefix):]), Value: stored[kvRevisionLen:],
		Revision: int64(binary.BigEndian.Uint64(stored)),
	}, nil
}

func kvPairKey(key string) []byte { return append([]byte(kvPairPrefix), key...) }

// kvValidate checks a commit against the contract's limits and says whether it puts anything.
func kvValidate(conds []storage.Cond, ops []storage.Op) (puts bool, err error) {
	if len(ops) > kvMaxOps {
		return false, fmt.Errorf("%d ops, at most %d: %w", len(ops), kvMaxOps, sidehook.ErrTooLarge)
	}
	for i, c := range conds {
		if err := kvValidKey(c.Key); err != nil {
			return false, sidehook.Under(fmt.Sprintf("conds[%d]", i), err)
		}
	}
	size, seen := 0, make(map[string]bool, len(ops))
	for i, op := range ops {
		if err := kvValidKey(op.Key); err != nil {
			return false, sidehook.Under(fmt.Sprintf("ops[%d]", i), err)
		}
		if seen[op.Key] {
			return false, sidehook.Fieldf(fmt.Sprintf("ops[%d].key", i), "is given twice in one commit")
		}
		seen[op.Key] = true
		if len(op.Value) > kvMaxValue {
			return false, fmt.Errorf("ops[%d]: value of %d bytes, at most %d: %w", i, len(op.Value), kvMaxValue,
				sidehook.ErrTooLarge)
		}
		size += len(op.Key) + len(op.Value)
		puts = puts || !op.Delete
	}
	if size > kvMaxCommit {
		return false, fmt.Errorf("%d bytes in all, at most %d: %w", size, kvMaxCommit, sidehook.ErrTooLarge)
	}
	return puts, nil
}

func kvValidKey(key string) error {
	switch {
	case key == "":
		return sidehook.Fieldf("key", "is empty")
	case len(key) > kvMaxKey:
		return sidehook.Fieldf("key", "must be at most %d bytes", kvMaxKey)
	case key[0] == '/':
		return sidehook.Fieldf("key", "must not start with a slash")
	}
	return nil
}
