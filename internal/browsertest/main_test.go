//go:build with_chromium

package browsertest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// chromium is the one browser of this test binary. Every Page has a browser context of its own in it: its own cookies,
// cache and storage.
var chromium struct {
	ctx       context.Context
	userAgent string
}

// shots is the folder of this run's pictures. It stays when a test failed or pictures were asked for.
var shots string

// screenshotsWanted says whether to write the pictures of the guide, and to keep all others.
var screenshotsWanted = os.Getenv("SIDEHOOK_SCREENSHOTS") == "1"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	if shots, err = os.MkdirTemp("", "sidehook-browser-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if code != 0 || screenshotsWanted {
			fmt.Fprintln(os.Stderr, "pictures of this run:", shots)
		} else if err := os.RemoveAll(shots); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	stop, err := startChromium()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start Chromium (run scripts/setup-test first?):", err)
		return 1
	}
	code = m.Run()
	stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines were left behind:", err)
			return 1
		}
	}
	return code
}

// startChromium starts the browser without anything that would talk to the network by itself.
func startChromium() (stop func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // containers run tests as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.WindowSize(wide.width, wide.height),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stop = func() {
		cancel()
		stopAllocator()
	}
	version, err := chromedp.CallBrowser(ctx, browser.GetVersion, cdp.Empty{})
	if err != nil {
		stop()
		return nil, err
	}
	chromium.ctx, chromium.userAgent = ctx, version.UserAgent
	return stop, nil
}
