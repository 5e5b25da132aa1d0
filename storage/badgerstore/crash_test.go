package badgerstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// childDir names the folder in which a child process of this test appends until it is killed.
const childDir = "SIDEHOOK_TEST_STORE_DIR"

// childFirst is the number of the child's first event.
const childFirst = "SIDEHOOK_TEST_STORE_FIRST"

const crashWriters = 8

// appendUntilKilled is the child: it appends events, delivers half of the taken deliveries, and prints what was
// acknowledged ("a" and the event) and what was recorded durably ("r" and the event).
func appendUntilKilled(dir string) {
	s, err := Open(dir, Options{Options: storage.Options{HistoryBytes: 64 << 10}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var out sync.Mutex
	say := func(kind string, id int) {
		out.Lock()
		defer out.Unlock()
		fmt.Printf("%s %d\n", kind, id)
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		panic(err)
	}
	for w := range crashWriters {
		go func() {
			for i := first + w; ; i += crashWriters {
				appendAndRecord(s, i, say)
			}
		}()
	}
	select {}
}

func appendAndRecord(s *Store, i int, say func(string, int)) {
	ctx := context.Background()
	b := storage.NewBatch([]storage.Entry{{
		Event: benchEvent(i, 200),
		Deliveries: []storage.Placement{
			{Webhook: sidehook.WebhookKey{App: "shop", ID: "taken"}},
			{Webhook: sidehook.WebhookKey{App: "shop", ID: "queued"}, Queued: true},
		},
	}})
	if err := s.Append(ctx, b); err != nil {
		panic(err)
	}
	if err := b.Wait(ctx); err != nil {
		panic(err)
	}
	say("a", i)
	if i%2 == 0 {
		p := b.Entries[0].Deliveries[0]
		r := benchResult(p.ID, p.Webhook, i)
		r.OnCommit = func() { say("r", i) }
		if err := s.Record(ctx, []storage.Result{r}); err != nil {
			panic(err)
		}
	}
}

// TestKillLosesNothing kills a child that appends and records, several times over the same folder, and accounts for
// every event that it said was acknowledged.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	acked, recorded := make(map[int]bool), make(map[int]bool)
	for round := range 4 {
		runChild(t, dir, round*1_000_000, 400*(round+1), acked, recorded)
	}
	s := openStore(t, dir, Options{})
	pending := drainQueue(t, s, "taken")
	queued := drainQueue(t, s, "queued")
	for id := range acked {
		if !queued[id] {
			t.Fatalf("event %d was acknowledged and its queued delivery is lost", id)
		}
		if recorded[id] && pending[id] {
			t.Fatalf("delivery of event %d was recorded as delivered and is queued again", id)
		}
		if !recorded[id] && id%2 == 1 && !pending[id] {
			t.Fatalf("event %d was acknowledged and its taken delivery is lost", id)
		}
	}
	if st := s.Stats(); st.Pending != 0 {
		t.Fatalf("%d deliveries are pending after all were claimed and recorded", st.Pending)
	}
	t.Logf("%d events acknowledged, %d recorded", len(acked), len(recorded))
}

func runChild(t *testing.T, dir string, first, lines int, acked, recorded map[int]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFirst+"="+strconv.Itoa(first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for n := 0; scanner.Scan(); n++ {
		kind, num, _ := strings.Cut(scanner.Text(), " ")
		id, err := strconv.Atoi(num)
		if err != nil {
			break // the last line, cut short
		}
		map[string]map[int]bool{"a": acked, "r": recorded}[kind][id] = true
		if n == lines {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended with %v before it was killed", err)
	}
}

// drainQueue claims and records everything that is queued, and returns which events it met.
func drainQueue(t *testing.T, s *Store, webhook string) map[int]bool {
	t.Helper()
	ctx := context.Background()
	key := sidehook.WebhookKey{App: "shop", ID: webhook}
	seen := make(map[int]bool)
	for {
		got, next, err := s.Claim(ctx, key, time.Now(), 500)
		if err != nil {
			t.Fatal(err)
		}
		var results []storage.Result
		for _, c := range got {
			n, err := strconv.Atoi(strings.TrimPrefix(c.Event.ID, "evt_"))
			if err != nil {
				t.Fatal(err)
			}
			seen[n] = true
			results = append(results, storage.Result{ID: c.ID, Webhook: key, State: sidehook.Delivered})
		}
		if err := s.Record(ctx, results); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 && next.IsZero() {
			return seen
		}
	}
}
