// Package badgerstore keeps Sidehook's durable state: the sidecar's queue (Open, a storage.Store), on a log of segment
// files with Badger behind it, and the control plane's key-value store (OpenKV, a storage.KV), in Badger alone. Nothing
// else imports Badger. It decides nothing about matching, scheduling or sending.
//
// # The queue: entries and blobs
//
// One goroutine, the committer, folds everything that was submitted meanwhile into one commit. What a commit changes
// is entries, few of them and small, and blobs, which are large and which entries refer to:
//
//	d/<seq>              the progress of the commit's deliveries: one state each, run-length coded; and its blocks
//	i/<seq>              when the commit was, and the hashes of its event ids, for dedupe
//	q/<queue><due><seq>  a run: deliveries of one commit, never attempted, of one queue and due time
//	q/<queue><due><seq><index>  a single: one delivery with its attempts so far
//	r/<seq><index>       the due time of a single, to find it by its id
//	p/<seq><hash>        a saved request, shared by the commit's deliveries that save the same bytes; a blob
//	h/<seq>              the batches that one commit finished, and the attempts that it recorded; those are a blob
//	m/…                  format version, origin, the marks (counters and cursors), and the segments
//
// A block is a blob with events, each with the webhooks it goes to, compressed. A batch is what one commit appended:
// its blocks, its deliveries' progress and its saved requests, by one sequence number.
//
// # The log
//
// A commit is one record in the current segment file: its blobs, then its marks and the changes to entries. One write
// and one fdatasync make it durable; then its submitters are told. Nothing else is on the way of a commit.
//
// A segment takes records up to 8 MiB (32 MiB where there are many). Its file is used again for a later segment, because to sync blocks that were
// written before is two to four times as quick as to sync a file that grows (0.2 against 0.45 ms for 64 KiB, 0.4
// against 2 for 512); where a file is new, small records write zeros ahead of them for the same reason. So the head of
// a file says which segment it is, not its name, and every sum takes in a random number of the segment's: neither what
// was left of an earlier use nor an event's data can pass for a record.
//
// Entries go from the record to an overlay, a sorted list in memory with versions, and from there to Badger: when it
// has grown, when the log behind it has, or when nothing happens, the overlay is frozen, another takes its place, and
// the frozen one is written to Badger in the background, one version of each key; what came and went meanwhile is never
// written. A last transaction says how far this checkpoint goes: the marks, the place in the log from which the next
// start replays, and the segments with their live bytes. Readers see overlays and Badger as one (moment), at a commit
// of their choice.
//
// # Why nothing is lost
//
//   - Crash while a record is written: its sum is wrong, nothing follows it, and it shows that a part of it was never
//     written, so it is left out. Nobody was told.
//   - Crash after that: replay applies it. A record says what entries become, not how they change, so it does not
//     matter what Badger knows of it already.
//   - Crash during a checkpoint: entries without its last transaction are written again, after replay from the one
//     before. Badger never has what is not durable in the log, for an overlay gets only synced records.
//   - A write or sync that fails: the batches are told, and forgotten. Results are applied in memory already, so their
//     record is written again, to the same place, until it succeeds. All of it is written again, so it does not matter
//     what the failed sync made of the pages.
//   - Another bad record was damaged later, for a record is only begun when the last is synced. It is told and counted.
//     A bit in its head is put right; where its entries are unreadable those of its events are made from its bodies;
//     where a body or a segment is, the deliveries that need it end as dropped. Then the entries are made to agree with
//     each other, and counted anew. See Store.Damaged.
//   - Badger's files are damaged: the log is replayed as a whole, and then the same. See mendEntries for why that is
//     enough, and Store.Rebuilt.
//   - With DurabilityProcess nothing is synced, and after a power loss the log may end before Badger does.
//
// # Space
//
// Every record says by how much it changes the live bytes of segments. A segment is given up when it has none, no
// replay needs it (it is before the last checkpoint) and no reader is at a moment that had some. One that is mostly
// dead and older than the history is rewritten: its records tell which entries to look at, and what these still have
// there is written again with later commits, a little with each. New files are allocated whole, so a full disk shows
// between segments; then the current one goes on for as long as it can.
//
// # What always holds
//
//   - A commit is one record: an event and its deliveries, or a result and its next place, are never apart.
//   - d/ is the truth about a delivery. A run may list deliveries that have left it; only those whose state is still
//     "run" count. A delivery is in at most one run in its life: the one that its commit wrote, or, when it was handed
//     to the caller first, the one due when it was accepted. So a run never has to be rewritten when members leave it,
//     and it is deleted with the last.
//   - A single's entry is the truth about its due time, and is deleted by the commit that moves the delivery on.
//   - Taken deliveries have no entry in a queue; Open puts the unrecorded ones there. Only batches from the mark
//     lowOpen on can have any.
//   - A batch leaves with the h/ entry of the commit that finished it, so the history is one queue, oldest end first.
//   - A blob has one entry that refers to it, and is freed once: by the commit that deletes or moves that entry.
//     Within a commit, what has freed blobs (trimming, thinning) and the rewriting of segments exclude each other.
//   - A key that carries a sequence number is never written before that commit. So what was born after the last
//     checkpoint is not looked for in Badger.
//   - A reader never starts at a queue's beginning, where deleted entries pile up, but at the queue's cursor.
//
// # Lock order
//
// queue.mu, then Store.mu. intake.mu, readers.mu, queuesMu, blockCache.mu, segments.mu and checkpoints.mu are leaves,
// but that checkpoints.mu may be held while segments.mu is taken. Only the committer changes batches and writes to the
// log; it holds Store.mu while it changes a batch, and others hold it while they read. No lock but queue.mu is held over
// a disk read.
package badgerstore
