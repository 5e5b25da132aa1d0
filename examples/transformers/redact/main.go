// Command redact is a transformer that masks personal fields in JSON data: values of the keys that it is told, and
// e-mail addresses and telephone numbers wherever they stand in a string. It adds the header X-Redacted with the number
// of values that it changed. It is an example of the SDK, not a guarantee that no personal data leaves: it knows keys
// and patterns, not meaning.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/sidehook/sidehook/plugin"
)

const version = "1.0.0"

func main() {
	r, err := configure(os.Args[1:], os.Getenv("REDACT_KEYS"), os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "redact:", err)
		os.Exit(2)
	}
	plugin.Serve(r)
}

// configure reads the arguments; keys, from the environment, are added to those of -keys.
func configure(args []string, keys string, out io.Writer) (*redactor, error) {
	fs := flag.NewFlagSet("redact", flag.ContinueOnError)
	fs.SetOutput(out)
	named := fs.String("keys", "", "comma-separated `names` of object keys whose values are masked, whatever they are")
	mask := fs.String("mask", "***", "`text` that stands for a masked value")
	emails := fs.Bool("emails", true, "mask e-mail addresses inside strings")
	phones := fs.Bool("phones", true, "mask telephone numbers inside strings")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("%q is not understood; see -help", fs.Arg(0))
	}
	r := &redactor{keys: map[string]bool{}, mask: *mask, quoted: quote(*mask), emails: *emails, phones: *phones}
	for key := range strings.SplitSeq(*named+","+keys, ",") {
		if key = strings.TrimSpace(key); key != "" {
			r.keys[strings.ToLower(key)] = true
		}
	}
	return r, nil
}

// Describe implements plugin.Transformer.
func (r *redactor) Describe() plugin.Description {
	return plugin.Description{Name: "redact", Version: version, Text: "Masks personal fields in JSON data."}
}

// Transform implements plugin.Transformer. Data that is not JSON fails: passing on what cannot be read would leak.
func (r *redactor) Transform(_ context.Context, item *plugin.Item) (*plugin.Result, error) {
	if len(item.Event.Data) == 0 {
		return plugin.Keep().WithHeader("X-Redacted", "0"), nil
	}
	data, n, err := r.redact(item.Event.Data)
	if err != nil {
		return nil, err
	}
	return plugin.Rewrite(data).WithHeader("X-Redacted", strconv.Itoa(n)), nil
}
