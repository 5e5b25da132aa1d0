// Package badgerstore keeps Sidehook's durable state in Badger: the sidecar's queue (Open, a storage.Store) and the
// control plane's key-value store (OpenKV, a storage.KV). Nothing else imports Badger. It decides nothing about
// matching, scheduling or sending.
//
// # The queue: a log of few, large entries
//
// Badger syncs once for each transaction and pays for each entry, so one goroutine, the committer, folds everything
// that was submitted meanwhile into one transaction, and nothing on the hot path has an entry of its own:
//
//	b/<seq><last index>  a block: events of one commit, each with the webhooks it goes to; compressed
//	i/<seq>              when the commit was, and the hashes of its event ids, for dedupe
//	d/<seq>              the progress of the commit's deliveries: one state each, run-length coded
//	q/<queue><due><seq>  a run: deliveries of one commit, never attempted, of one queue and due time
//	q/<queue><due><seq><index>  a single: one delivery with its attempts so far
//	r/<seq><index>       the due time of a single, to find it by its id
//	p/<seq><hash>        a saved request, shared by the commit's deliveries that save the same bytes
//	h/<seq>              the attempts that one commit recorded, and the batches that it finished
//	m/…                  format version, origin, and the marks: counters and cursors, rewritten by every commit
//
// A batch is what one commit appended: its blocks, its deliveries' progress and its saved requests, by one sequence
// number. Sequence numbers are Badger's commit timestamps (managed mode), so a reader picks its own and never waits
// for a commit that is being synced.
//
// # What always holds
//
//   - A commit is one transaction: an event and its deliveries, or a result and its next place, are never apart.
//   - d/ is the truth about a delivery. A run may list deliveries that have left it; only those whose state is still
//     "run" count. A delivery is in at most one run in its life: the one that its commit wrote, or, when it was handed
//     to the caller first, the one due when it was accepted. So a run never has to be rewritten when members leave it,
//     and it is deleted with the last.
//   - A single's entry is the truth about its due time, and is deleted by the commit that moves the delivery on.
//   - Taken deliveries have no entry in a queue; Open puts the unrecorded ones there. Only batches from the mark
//     lowOpen on can have any.
//   - A batch leaves with the h/ entry of the commit that finished it, so the history is one queue, oldest end first.
//   - A reader never starts at a queue's beginning, where deleted entries pile up, but at the queue's cursor.
//
// # Lock order
//
// queue.mu, then Store.mu. intake.mu, readers.mu, queuesMu and blockCache.mu are leaves. Only the committer changes
// batches; it holds Store.mu while it does, and others hold it while they read. No lock but queue.mu is held over a
// disk read, except Store.oldestMu, which guards nothing else.
package badgerstore
