package badgerstore

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidehook/sidehook/storage"
)

// FuzzLog damages the log of a store that crashed, as the fuzzer says: three bytes for each place, of which two say where
// and one says what is flipped, and a length to cut it to. Whatever is left of it opens, gives only events that were
// written, whole, and takes new ones.
func FuzzLog(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add([]byte{0, 0, 1}, uint16(0))                             // the magic of the segment
	f.Add([]byte{0, 64, 255, 0, 65, 255, 0, 66, 255}, uint16(0))  // the first record's head
	f.Add([]byte{0, 200, 1, 8, 0, 2, 12, 0, 4, 16, 9}, uint16(0)) // bodies
	f.Add([]byte{}, uint16(3000))
	f.Add([]byte{0, 90, 128}, uint16(65))
	f.Add([]byte{0, 70, 1, 0, 71, 1}, uint16(9000))

	const events, size = 8, 64 << 10
	opts := Options{segmentSize: size, MinFreeBytes: -1, Durability: DurabilityProcess}
	from := f.TempDir()
	s := openStore(f, from, opts)
	written := map[string]string{}
	for i := range events {
		appendOne(f, s, i, storage.Placement{Webhook: key("w"), Queued: true})
		e := benchEvent(i, 900)
		written[e.ID] = string(e.Data)
	}
	log, err := filepath.Rel(from, s.segs.cur.path)
	must(f, err)
	must(f, crashing{s}.Close())
	f.Fuzz(func(t *testing.T, flips []byte, cut uint16) {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(from)))
		path := filepath.Join(dir, log)
		text, err := os.ReadFile(path)
		must(t, err)
		for ; len(flips) >= 3; flips = flips[3:] {
			if at := int(flips[0])<<8 | int(flips[1]); at < len(text) {
				text[at] ^= flips[2]
			}
		}
		if cut > 0 {
			text = text[:min(int(cut), len(text))]
		}
		must(t, os.WriteFile(path, text, 0o600))

		for n := range 2 { // the second start finds what the first left behind
			s, _, err := OpenOrSetAside(dir, opts)
			if err != nil {
				t.Fatalf("start %d: %v", n, err)
			}
			appendOne(t, s, 100+n, storage.Placement{Webhook: key("w"), Queued: true})
			e := benchEvent(100+n, 900)
			seen := map[string]bool{}
			for range 2 * (events + 2) {
				got, next, err := s.Claim(ctx, key("w"), time.Now().Add(time.Hour), 10)
				must(t, err)
				for _, c := range got {
					want, ok := written[c.Event.ID]
					if c.Event.ID == e.ID || c.Event.ID == benchEvent(100, 900).ID {
						want, ok = string(c.Event.Data), json.Valid(c.Event.Data)
					}
					if !ok || string(c.Event.Data) != want {
						t.Fatalf("start %d: an event comes out that was not written so: %q", n, c.Event.ID)
					}
					seen[c.Event.ID] = true
				}
				if len(got) == 0 && next.IsZero() {
					break
				}
			}
			if !seen[e.ID] {
				t.Fatalf("start %d: what was written after the damage does not come out; %d others do", n, len(seen))
			}
			must(t, crashing{s}.Close())
		}
	})
}
