package console

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestSignInAddressesAreBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a := newAttempts(func() time.Time { return now })
	for i := range maxSignInAddrs {
		a.take(fmt.Sprintf("10.%d.%d.%d:1234", i>>16, i>>8&255, i&255))
	}
	for range signInBurst {
		if wait := a.take("192.0.2.1:1"); wait > 0 {
			t.Fatal("the shared limit is used up too early")
		}
	}
	if a.take("192.0.2.2:1") == 0 {
		t.Error("addresses without a place have no limit")
	}
	if a.take("10.0.0.1:99") != 0 {
		t.Error("an address that has a place waits for those that have none")
	}
	now = now.Add(time.Hour)
	if a.take("192.0.2.3:1"); len(a.all) != 1 {
		t.Errorf("%d addresses are kept that have not tried for an hour", len(a.all))
	}
}

func TestNetworkOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7/32", "[::ffff:192.0.2.7]:80": "192.0.2.7/32", "[2001:db8:1:2:3::4]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80": "fe80::/64", "nonsense": "invalid Prefix",
	} {
		if got := networkOf(remote).String(); got != want {
			t.Errorf("networkOf(%q) is %s, want %s", remote, got, want)
		}
	}
}

func FuzzOwnPath(f *testing.F) {
	for _, seed := range []string{
		"/console/", "/console/apps/demo/webhooks?page=2", "//evil.example/console/", "/console/../v1/apps", "/console//evil.example", "/console/%2e%2e/v1",
		"/\\evil.example", "https://evil.example/console/", "/console/\t/x", "/console/?next=//evil.example", "/console/#x", "javascript:/console/",
	} {
		f.Add(seed)
	}
	base, err := url.Parse("http://127.0.0.1:4471/console/sign-in")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !isOwnPath(path) {
			return
		}
		to, err := base.Parse(path)
		if err != nil {
			t.Fatalf("%q is taken but is no URL: %v", path, err)
		}
		if to.Host != base.Host || to.Scheme != "http" || !strings.HasPrefix(to.Path, Root) {
			t.Errorf("%q leads to %s", path, to)
		}
	})
}

func FuzzShownBody(f *testing.F) {
	f.Add([]byte(`{"a":[1,2]}`))
	f.Add([]byte("\x00\xff\u202e<script>"))
	f.Add([]byte("\u202e<script>\r\n"))
	f.Add([]byte(strings.Repeat("<", 9000)))
	f.Add([]byte(strings.Repeat("[", 8000) + strings.Repeat("]", 8000)))
	f.Add([]byte(strings.Repeat(`["]\"]]",`, 1500) + "1" + strings.Repeat("]", 1500)))
	f.Fuzz(func(t *testing.T, b []byte) {
		room := allowance(2 * bodyAllowance)
		shown := room.show(b, bodyAllowance)
		if strings.ContainsAny(shown.Text, "\x00\x1b\r\u202e") {
			t.Errorf("%q is shown as %q", b, shown.Text)
		}
		if n := len(template.HTMLEscapeString(shown.Text)); n > bodyAllowance || bodyAllowance*2-int(room) < n {
			t.Errorf("%d bytes are shown in %d of markup, and %d are counted", len(b), n, bodyAllowance*2-int(room))
		}
		if len(b) > 0 && shown.Text == "" && strings.Trim(string(b), "\r") != "" {
			t.Errorf("%q is not shown", b)
		}
		if shown.Size != len(b) || shown.Cut != strings.HasSuffix(shown.String(), "…") && !strings.HasSuffix(string(b), "…") {
			t.Errorf("%q is shown as %+v", b, shown)
		}
	})
}
