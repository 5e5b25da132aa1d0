// Package host runs transformers inside the sidecar: it verifies and starts one process for each, asks them about
// deliveries in batches, limits their time and memory, and starts them again when they crash or hang. It implements
// sidehook.Transformers. It does not decide what happens to a delivery whose transformer is in trouble; the delivery
// engine does.
//
// # What always holds
//
//   - A transformer's trouble stays its own: each has its process, its queue and its supervisor.
//   - No call waits without an end: not for a process, not in the queue, not for an answer.
//   - What a transformer answers is checked before anyone sees it.
//   - After Stop there is no process of ours, nor of our processes' groups, and no socket file. When the sidecar is
//     killed, the kernel kills the transformers (Linux) and the SDK ends them (everywhere); what is left in the socket
//     folder is swept at the next start.
//
// # Why a batch, and how
//
// A gRPC call costs about 70 µs on the machine, most of it waking processes, so one call carries what is waiting. A
// call is sent at once when none is under way; then items wait, and the next free sender takes all that wait, at most 64.
// A second, third or fourth call goes beside it when many items wait, or when it takes more than a millisecond. An idle
// transformer thus adds no delay, and a busy one amortises.
//
// After trouble (a crash, a call without an answer in time) each item that was under way is next sent alone. So an event
// that kills the process is found out, and fails: see suspects.go.
package host
