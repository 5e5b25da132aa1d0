package badgerstore

import (
	"fmt"
	"log/slog"
	"strings"
)

// logBridge gives Badger's lines to slog: its errors and warnings as warnings, for Badger calls much an error that is
// none, and its chatter as debug.
type logBridge struct{ log *slog.Logger }

func (l logBridge) Errorf(format string, args ...any)   { l.log.Warn(badgerLine(format, args)) }
func (l logBridge) Warningf(format string, args ...any) { l.log.Warn(badgerLine(format, args)) }
func (l logBridge) Infof(format string, args ...any)    { l.log.Debug(badgerLine(format, args)) }
func (l logBridge) Debugf(format string, args ...any)   { l.log.Debug(badgerLine(format, args)) }

func badgerLine(format string, args []any) string {
	return "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
}
