package badgerstore

import (
	"fmt"
	"log/slog"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/sidehook/sidehook/storage"
)

// Durability says what an acknowledged event survives.
type Durability string

// The durabilities.
const (
	// DurabilityDisk syncs every commit: events survive a power loss. The default.
	DurabilityDisk Durability = "disk"
	// DurabilityProcess leaves syncing to the kernel: events survive the end of the process, however sudden, but not
	// a power loss.
	DurabilityProcess Durability = "process"
)

// Options of Open.
type Options struct {
	storage.Options
	// Durability is DurabilityDisk by default.
	Durability Durability
	// MinFreeBytes is the free disk space below which Append answers *sidehook.FullError and Open refuses: Badger
	// writes through memory maps, and a disk that is really full kills the process. Default 64 MiB; negative: no
	// check.
	MinFreeBytes int64
	// Logger takes what an operator should know; nil discards it.
	Logger *slog.Logger

	// freeBytes asks how much room the disk has; tests replace it.
	freeBytes func(dir string) (int64, error)
	// Sizes that tests make small.
	segmentSize, overlayFull, overlayLog int64
	// mendFault, when it is set, makes Open fail after a step of mending, as a crash would.
	mendFault func(step string) error
}

func (o Options) withDefaults() (Options, error) {
	o.Options = o.Options.WithDefaults()
	switch o.Durability {
	case "":
		o.Durability = DurabilityDisk
	case DurabilityDisk, DurabilityProcess:
	default:
		return o, fmt.Errorf("durability: %.40q must be %s or %s", o.Durability, DurabilityDisk, DurabilityProcess)
	}
	if o.MinFreeBytes == 0 {
		o.MinFreeBytes = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.segmentSize == 0 {
		o.segmentSize = segmentSize
	}
	if o.overlayFull == 0 {
		o.overlayFull = overlayFull
	}
	if o.overlayLog == 0 {
		o.overlayLog = overlayLog
	}
	if o.freeBytes == nil {
		o.freeBytes = freeBytes
	}
	return o, nil
}

// memTableSize decides how large one transaction can be (15 % of it), and about how much memory Badger takes.
const memTableSize = 4 << 20

// What Badger's table builders allocate. A builder's memory comes in chunks, the first of twice tableSize and each
// twice the one before; it goes back to a pool of eight that never shrinks while there is work, so every one of them
// grows to what the largest table took, which is a flushed memtable: 4 + 8 MiB. It is a multiple of that when values
// outgrow the table's blocks, for each such block is moved to one of twice the size and the old one is not used again:
// a block of this store is 48 KiB before compression, an h/ value may be more.
const (
	tableBlockSize = 256 << 10 // nothing but the search within it grows with it: blocks are read in place, unchecked
	tableSize      = 2 << 20
)

// badgerOptions is a small profile: values stay in the tree, for the value log would need collecting; nothing is
// cached in Go's memory but the tables' indices, for Badger maps its tables. Six tables gather in level 0 before they
// are merged, for every merge rewrites the base level, which has keys of every space: two would nearly double what is
// written.
func (o *Options) badgerOptions(dir string) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(logBridge{o.Logger}).
		WithSyncWrites(o.Durability == DurabilityDisk).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithNumLevelZeroTables(6).
		WithNumLevelZeroTablesStall(16).
		WithBlockSize(tableBlockSize).
		WithBaseTableSize(tableSize).
		WithBaseLevelSize(32 << 20).
		WithNumCompactors(2).
		WithCompactL0OnClose(false).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(4 << 20).
		WithValueThreshold(512 << 10).
		WithValueLogFileSize(1 << 20)
}
