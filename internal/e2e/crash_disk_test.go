//go:build with_mount

package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// smallDisk is a place whose data folder is a file system of its own, of so many MiB, and an endpoint that refuses until
// it is told to accept.
type smallDisk struct {
	*place
	endpoint *endpoint
	accepts  atomic.Bool
	data     string
	random   *rand.Rand
	events   int

	to   *sidecar // that conn leads to
	conn *grpc.ClientConn
}

func newSmallDisk(t *testing.T, mib int) *smallDisk {
	t.Helper()
	d := &smallDisk{place: newPlace(t, "config_file: webhooks.yaml", allowLoopback), random: rand.New(rand.NewPCG(seedOf(t), 7))}
	d.data = filepath.Join(d.dir, "data")
	if err := os.Mkdir(d.data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("sidehook-e2e", d.data, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { // before the folder is removed
		if err := syscall.Unmount(d.data, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	d.endpoint = newEndpoint(t, "crm")
	d.endpoint.answer = func(*http.Request) int {
		if d.accepts.Load() {
			return http.StatusNoContent
		}
		return http.StatusServiceUnavailable
	}
	d.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: crm, url: %q, events: ["*"], retry_policy: {schedule: %s}, secrets: [{id: s, key: %s}]}
`, d.endpoint.url, strings.ReplaceAll(retries, "1s", "3s"), d.endpoint.secret.Reveal()))
	return d
}

// free is the room on the disk, in MiB.
func (d *smallDisk) free() int64 {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.data, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize >> 20
}

// occupy fills the disk from elsewhere until so many MiB are free, and returns how to undo that.
func (d *smallDisk) occupy(left int64) (release func()) {
	d.t.Helper()
	path := filepath.Join(d.data, "of-others")
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); d.free() > left; {
		if _, err := f.Write(block); err != nil {
			d.t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}

// publish emits an event of about 200 KiB that does not get smaller by compression.
func (d *smallDisk) publish(s *sidecar) (id string, err error) {
	d.t.Helper()
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	pad := make([]byte, 200<<10)
	for i := range pad {
		pad[i] = letters[d.random.IntN(len(letters))]
	}
	d.events++
	e := newEvent(fmt.Sprintf("evt_%d", d.events), "file.stored")
	e.Data = fmt.Appendf(nil, `{"n":%q,"pad":%q}`, e.GetId(), pad)
	if d.to != s {
		d.to, d.conn = s, dialEvents(d.t, s.grpc)
	}
	_, err = eventsv1.NewEventServiceClient(d.conn).Publish(d.t.Context(),
		&eventsv1.PublishRequest{Events: []*eventsv1.Event{e}}, grpc.WaitForReady(true))
	return e.GetId(), err
}

// fill publishes until the sidecar refuses, and returns what it acknowledged.
func (d *smallDisk) fill(s *sidecar) (acked []string) {
	d.t.Helper()
	for range 5000 {
		id, err := d.publish(s)
		if err == nil {
			acked = append(acked, id)
			continue
		}
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "free") {
			d.t.Fatalf("after %d events with %d MiB free: %v, want RESOURCE_EXHAUSTED because of the disk", len(acked), d.free(), err)
		}
		return acked
	}
	d.t.Fatalf("the sidecar took %d events and refused none; %d MiB are free", len(acked), d.free())
	return nil
}

// awaitTaken waits until events are taken again.
func (d *smallDisk) awaitTaken(s *sidecar) string {
	d.t.Helper()
	var id string
	await(d.t, "events are taken again", func() (err error) {
		id, err = d.publish(s)
		if err != nil {
			return fmt.Errorf("%d MiB are free: %w", d.free(), err)
		}
		return nil
	})
	return id
}

// TestQueueFillsTheDisk: a backlog fills the disk. The sidecar refuses events while there is still room for what it has
// to write itself, goes on delivering, gives the room back, and takes events again, all by itself.
func TestQueueFillsTheDisk(t *testing.T) {
	d := newSmallDisk(t, 220)
	s := d.open()
	acked := d.fill(s)
	if left := d.free(); left < 32 {
		t.Errorf("only %d MiB were free when the sidecar refused", left)
	}
	if len(acked) < 200 {
		t.Errorf("only %d events of 200 KiB fit on a disk of 220 MiB that keeps 64 free", len(acked))
	}
	if n := s.metric(`sidehook_publish_refused_total{reason="full"}`); n == "0" {
		t.Error("the refusal was not counted")
	}
	d.accepts.Store(true)
	d.endpoint.awaitArrival(t, acked...)
	s.awaitIdle()
	d.endpoint.awaitArrival(t, d.awaitTaken(s))
	s.stop(syscall.SIGTERM)
}

// TestOthersFillTheDisk: something else fills the disk while events are queued. They are delivered, new ones are refused;
// a start is refused, too, and says why. When there is room again everything goes on by itself, nothing is lost.
func TestOthersFillTheDisk(t *testing.T) {
	d := newSmallDisk(t, 300)
	s := d.open()
	var acked []string
	for range 20 {
		id, err := d.publish(s)
		if err != nil {
			t.Fatal(err)
		}
		acked = append(acked, id)
	}
	release := d.occupy(40)
	await(t, "events are refused", func() error {
		id, err := d.publish(s)
		if err == nil {
			acked = append(acked, id)
			return errors.New("an event was taken")
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Fatalf("%v, want RESOURCE_EXHAUSTED", err)
		}
		return nil
	})
	d.accepts.Store(true)
	d.endpoint.awaitArrival(t, acked...)
	s.awaitIdle()
	release()
	d.endpoint.awaitArrival(t, d.awaitTaken(s))

	d.accepts.Store(false)
	waiting := d.awaitTaken(s)
	release = d.occupy(40)
	s.kill()
	p := d.start()
	<-p.exited
	var exit *exec.ExitError
	if said := p.log.String() + p.out.String(); !errors.As(p.err, &exit) || !strings.Contains(said, "MiB free") || !strings.Contains(said, "must keep free") {
		t.Errorf("a start on a full disk ended with %v and said:\n%s", p.err, said)
	}
	release()
	d.accepts.Store(true)
	s = d.open()
	d.endpoint.awaitArrival(t, waiting)
	s.stop(syscall.SIGTERM)
}
