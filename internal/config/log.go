package config

import (
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
)

// Log says what is logged and how.
type Log struct {
	// Level is the least important level that is logged: "debug", "info" (default), "warn" or "error".
	Level string `yaml:"level"`
	// Format is "text" (default) or "json".
	Format string `yaml:"format"`
}

// DefaultLog returns the settings for a file without log.
func DefaultLog() Log { return Log{Level: "info", Format: "text"} }

// levels and formats that a Log can have.
var (
	levels  = []string{"debug", "info", "warn", "error"}
	formats = []string{"text", "json"}
)

// New makes the logger, which writes to w. A Log that has not been checked gives level info and format text for what
// it does not know.
func (l Log) New(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	var level slog.Level
	if level.UnmarshalText([]byte(l.Level)) == nil {
		opts.Level = level
	}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Validate returns a *sidehook.FieldError for settings that come from flags.
func (l Log) Validate() error {
	if !slices.Contains(levels, l.Level) {
		return sidehook.Fieldf("log.level", "must be %s", strings.Join(levels, ", "))
	}
	if !slices.Contains(formats, l.Format) {
		return sidehook.Fieldf("log.format", "must be %s", strings.Join(formats, " or "))
	}
	return nil
}

func (d *document) log(l Log) {
	d.oneOf("log.level", l.Level, levels...)
	d.oneOf("log.format", l.Format, formats...)
}
