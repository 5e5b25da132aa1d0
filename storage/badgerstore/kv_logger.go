package badgerstore

import (
	"fmt"
	"log/slog"
	"strings"
)

// kvLogger takes Badger's log lines: warnings and errors as they are, the rest as debug.
type kvLogger struct{ log *slog.Logger }

func (l kvLogger) Errorf(f string, args ...any)   { l.log.Error("badger: " + kvLine(f, args)) }
func (l kvLogger) Warningf(f string, args ...any) { l.log.Warn("badger: " + kvLine(f, args)) }
func (l kvLogger) Infof(f string, args ...any)    { l.log.Debug("badger: " + kvLine(f, args)) }
func (l kvLogger) Debugf(f string, args ...any)   { l.log.Debug("badger: " + kvLine(f, args)) }

func kvLine(format string, args []any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }
