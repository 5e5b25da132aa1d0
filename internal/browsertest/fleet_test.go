//go:build with_chromium

package browsertest

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/config"
)

// redact builds the example transformer.
func redact(t *testing.T) config.Transformer {
	t.Helper()
	program := filepath.Join(t.TempDir(), "redact")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, "./examples/transformers/redact")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build redact: %v\n%s", err, out)
	}
	return config.Transformer{Name: "redact", Command: program, Timeout: 10 * time.Second}
}

// TestFleet: the pages of transformers and sidecars tell what runs where, and a sidecar can be drained after a question.
func TestFleet(t *testing.T) {
	t.Parallel()
	transformer := redact(t)
	type labels struct{ tab, running, none, sidecars, drain, draining, drains string }
	byLang := map[string]labels{
		"vi": {
			"Bộ biến đổi", "Đang chạy", "Chưa có bộ biến đổi nào", "Sidecar", "Rút tải …",
			"Sidecar từ chối sự kiện mới và đang gửi nốt những gì đang có", "Đang rút tải",
		},
		"en": {
			"Transformers", "Running", "No transformers", "Sidecars", "Drain …", "The sidecar refuses new events and delivers what it has", "Draining",
		},
	}
	for i := range tongues {
		w := &tongues[i]
		l := byLang[w.lang]
		t.Run(w.lang, func(t *testing.T) {
			t.Parallel()
			bare, p := newPlace(t), newPage(t, w.lang)
			p.signIn(bare, w, webhooksOfDemo)
			p.click("link", l.tab)
			p.sees(l.none)
			p.look("transformers-none")

			pl, p := newPlace(t, transformer), newPage(t, w.lang)
			pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm"), Transformer: "redact"})
			p.signIn(pl, w, webhooksOfDemo)
			p.click("link", l.tab)
			p.in("#transformers", "").sees("redact", "CRM")
			pl.publish(t, "evt_1", "person.created", `{"email":"a@example.com"}`)
			p.in("#transformers", "").sees(l.running)
			p.look("transformers")

			p.open(pl.console + "sidecars")
			p.has("heading", l.sidecars)
			p.look("sidecars")
			p.click("button", l.drain)
			p.in("dialog[open]", "").click("button", w.confirm)
			p.sees(l.draining)
			p.in("#sidecars", "").sees(l.drains)
		})
	}
}
