package console_test

import (
	"bufio"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/control"
)

// listen opens a live stream and returns what comes over it, event by event. The channel closes with the stream.
func (r *reader) listen(path string) (code int, events <-chan string) {
	r.s.t.Helper()
	request, err := http.NewRequestWithContext(r.s.t.Context(), "GET", r.s.http.URL+path, nil)
	r.s.check(err)
	response, err := r.client.Do(request)
	r.s.check(err)
	ch := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(ch)
		lines := bufio.NewScanner(response.Body)
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				ch <- name
			}
		}
	}()
	r.s.t.Cleanup(func() {
		_ = response.Body.Close() // ends the goroutine
		<-done
	})
	return response.StatusCode, ch
}

func TestLive(t *testing.T) {
	s := newSite(t)
	s.makeApp("other")
	r := s.signedIn("en")
	code, events := r.listen("/console/apps/demo/live")
	if code != 200 || <-events != "open" {
		t.Fatalf("the stream answered %d", code)
	}
	_, everything := r.listen("/console/live")
	<-everything
	s.makeWebhook("One")
	if got := <-events; got != "webhooks" {
		t.Errorf("the stream says %q", got)
	}
	if got := <-everything; got != "webhooks" {
		t.Errorf("the stream of all apps says %q", got)
	}
	s.check(s.console.Close())
	for range events { // ends
	}
	if code, _ := r.listen("/console/apps/demo/live"); code != http.StatusTooManyRequests {
		t.Errorf("a closed console answered %d", code)
	}
}

func TestLiveEndsWithTheSession(t *testing.T) {
	s := newSite(t)
	token, id := s.makeToken(control.TokenApp, "demo")
	r := s.reader("en")
	r.signIn(token).want(http.StatusSeeOther)
	_, events := r.listen("/console/apps/demo/live")
	<-events
	s.check(s.svc.RevokeToken(t.Context(), id))
	s.makeWebhook("One")
	if got, ok := <-events; ok {
		t.Errorf("a revoked token still hears %q", got)
	}
	if code, _ := r.listen("/console/apps/demo/live"); code != http.StatusNoContent {
		t.Errorf("a stream without a session answered %d", code)
	}
}

func TestLiveStreamsAreBounded(t *testing.T) {
	s := newSite(t)
	r := s.signedIn("en")
	for range 8 {
		if code, events := r.listen("/console/apps/demo/live"); code != 200 || <-events != "open" {
			t.Fatalf("a stream answered %d", code)
		}
	}
	if code, _ := r.listen("/console/apps/demo/live"); code != http.StatusTooManyRequests {
		t.Errorf("one stream too many answered %d", code)
	}
	if code, _ := s.signedInLater("en").listen("/console/apps/demo/live"); code != 200 {
		t.Errorf("another session's stream answered %d", code)
	}
}

// signedInLater is signedIn with a session of its own: those of one second are the same.
func (s *site) signedInLater(lang string) *reader {
	s.t.Helper()
	s.clock.move(2e9)
	return s.signedIn(lang)
}

func TestScriptsAreToldOfRefusals(t *testing.T) {
	s := newSite(t)
	r := s.signedIn("vi")
	r.header.Set("HX-Request", "true")
	a := r.get("/console/apps/none/webhooks").want(404)
	trigger := a.header.Get("HX-Trigger")
	if a.header.Get("HX-Reswap") != "none" || !strings.Contains(trigger, "sidehook:refused") || strings.ContainsFunc(trigger, func(r rune) bool { return r > 0x7e }) {
		t.Errorf("headers are %v", a.header)
	}
	r.send("POST", "/console/apps", url.Values{}).want(403)
}
