package host

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many lines of a transformer go to the log: a transformer in trouble must not drown the sidecar's own.
const (
	linesPerSecond = 50
	linesBurst     = 200
)

// logLines puts the lines that a process writes into the log, and counts those that are too many.
type logLines struct {
	logger *slog.Logger
	limit  *rate.Limiter

	mu   sync.Mutex
	lost int
}

func newLogLines(l *slog.Logger) *logLines {
	return &logLines{logger: l, limit: rate.NewLimiter(linesPerSecond, linesBurst)}
}

func (l *logLines) log(stream, line string) {
	l.mu.Lock()
	if !l.limit.AllowN(time.Now(), 1) {
		l.lost++
		l.mu.Unlock()
		return
	}
	lost := l.lost
	l.lost = 0
	l.mu.Unlock()
	if lost > 0 {
		l.logger.Warn("transformer wrote too many lines; some were left out", "lines", lost)
	}
	l.logger.Info("transformer wrote", "stream", stream, "line", line)
}
