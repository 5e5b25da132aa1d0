package control

import (
	"encoding/base64"
	"fmt"
	"math"
	"time"

	"github.com/sidehook/sidehook"
)

// Bounds of a page.
const (
	DefaultPageLimit = 50
	MaxPageLimit     = 200
)

// PageRequest selects a page of a list.
type PageRequest struct {
	// Limit is how many to return: 1 to MaxPageLimit; 0 for DefaultPageLimit.
	Limit int
	// Cursor is the next of an earlier page; empty for the first.
	Cursor string
}

// paginate cuts the page out of all, which is sorted so that position rises (as bytes) along it. Items that come and go
// between two pages neither repeat nor hide others.
func paginate[T any](all []T, p PageRequest, position func(T) string) (page []T, next string, err error) {
	limit := p.Limit
	if limit == 0 {
		limit = DefaultPageLimit
	}
	if limit < 1 || limit > MaxPageLimit {
		return nil, "", sidehook.Fieldf("limit", "must be 1 to %d", MaxPageLimit)
	}
	if p.Cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(p.Cursor)
		if err != nil || len(after) == 0 || len(p.Cursor) > 512 {
			return nil, "", sidehook.Fieldf("cursor", "is not one that an earlier page gave as next_cursor")
		}
		first := 0
		for first < len(all) && position(all[first]) <= string(after) {
			first++
		}
		all = all[first:]
	}
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], base64.RawURLEncoding.EncodeToString([]byte(position(all[limit-1]))), nil
}

// newestPosition is a position for lists that go from newer to older.
func newestPosition(created time.Time, id string) string {
	return fmt.Sprintf("%016x %s", uint64(math.MaxInt64-created.UnixMicro()), id)
}
