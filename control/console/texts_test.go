package console

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// localeKeys are the keys of a language's files, with the values.
func localeKeys(t *testing.T, lang string) map[string]any {
	t.Helper()
	keys := make(map[string]any)
	files, err := fs.Glob(localeFiles, "locales/*."+lang+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.Contains(file, "refusals") {
			continue
		}
		b, err := localeFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var some map[string]any
		if err := yaml.Unmarshal(b, &some); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for key, value := range some {
			if _, twice := keys[key]; twice {
				t.Errorf("%s: %s is there twice", file, key)
			}
			keys[key] = value
		}
	}
	return keys
}

// Uses of texts in templates and code; a prefix is completed when the page is made.
var (
	templateUse = regexp.MustCompile(`\bt "([a-z][A-Za-z0-9_.-]*)"`)
	prefixUse   = regexp.MustCompile(`\bt \(print "([a-z][A-Za-z0-9_.-]*)"`)
	// In code: what is said, and the keys that are handed on to be said.
	codeUse = regexp.MustCompile(`\bt\("([a-z][A-Za-z0-9_.-]*)"|"((?:done|tab|signin)\.[a-z-]+)"`)
)

func TestTexts(t *testing.T) {
	english, vietnamese := localeKeys(t, "en"), localeKeys(t, "vi")
	for key := range english {
		if _, ok := vietnamese[key]; !ok {
			t.Errorf("Vietnamese lacks %s", key)
		}
	}
	for key := range vietnamese {
		if _, ok := english[key]; !ok {
			t.Errorf("English lacks %s", key)
		}
	}
	used, prefixes := map[string]string{}, []string{"field.", "error."} // of problems.add and visit.explain
	for _, pattern := range []string{"templates/*.html", "*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range prefixUse.FindAllStringSubmatch(string(b), -1) {
				prefixes = append(prefixes, m[1])
			}
			uses := templateUse
			if strings.HasSuffix(file, ".go") {
				uses = codeUse
			}
			for _, m := range uses.FindAllStringSubmatch(string(b), -1) {
				key := strings.Join(m[1:], "") // one of them
				if used[key] = file; english[key] == nil && !strings.HasSuffix(key, ".") {
					t.Errorf("%s says %s, which is no text", file, key)
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(english)) {
		if used[key] == "" && !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("%s is said nowhere", key)
		}
	}
}

// TestToneMarks: one way to write them, khoá and not khóa.
func TestToneMarks(t *testing.T) {
	files, err := fs.Glob(localeFiles, "locales/*.vi.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := localeFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if oldTones.MatchString(line) {
				t.Errorf("%s sets a tone mark on the first vowel: %s", file, line)
			}
		}
	}
}

var oldTones = regexp.MustCompile(`(óa|òa|ỏa|õa|ọa|óe|òe|ỏe|õe|ọe)([^\pL]|$)`)

func TestVerbatimTexts(t *testing.T) {
	texts, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"webhooks.new": "Thêm mới", "done.created": "Tạo webhook thành công", "done.updated": "Đã cập nhật webhook thành công",
		"done.enabled": "Đã bật webhook thành công!", "done.disabled": "Đã tắt webhook thành công!", "done.deleted": "Đã xoá thành công!",
		"layout.confirm": "Xác nhận", "layout.cancel": "Hủy", "form.submit": "Submit", "webhooks.add-header": "Thêm",
		"webhooks.events": "Sự kiện cần gửi", "webhooks.id": "ID", "webhooks.name": "Tên", "webhooks.status": "Trạng thái",
		"webhooks.enabled": "Enable", "webhooks.disabled": "Disable", "webhooks.url": "URL", "webhooks.created": "Thời gian tạo",
		"webhooks.updated": "Thời gian chỉnh sửa", "list.actions": "Hành động", "test.title": "Kiểm tra URL Webhook của bạn",
		"test.succeeded": "Đã nhận được phản hồi từ webhook thành công!", "field.automatic_retry": "Automatic Retry",
		"layout.apps": "Quản lý App", "tab.webhooks": "Webhook",
	} {
		if got := texts.say("vi", key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if got := texts.say("en", "test.send"); got != "Send Test Event" {
		t.Errorf("test.send is %q", got)
	}
	for n, want := range map[int]string{1: "1 event", 3: "3 events"} {
		if got := texts.say("en", "webhooks.n-events", "N", n); got != want {
			t.Errorf("%d is said %q", n, got)
		}
	}
}
