package twenty

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a page of /rest/metadata/webhooks.
const (
	defaultLimit = 60
	maxLimit     = 200
)

type page struct {
	Data       []*webhook `json:"data"`
	PageInfo   pageInfo   `json:"pageInfo"`
	TotalCount int        `json:"totalCount"`
}

type pageInfo struct {
	HasNextPage     bool    `json:"hasNextPage"`
	HasPreviousPage bool    `json:"hasPreviousPage"`
	StartCursor     *string `json:"startCursor"`
	EndCursor       *string `json:"endCursor"`
}

// listPage answers GET /rest/metadata/webhooks: limit, and starting_after or ending_before, which are ids.
func (h *handler) listPage(r request) (int, any, error) {
	query := r.URL.Query()
	limit, err := parseLimit(query.Get("limit"))
	if err != nil {
		return 0, nil, err
	}
	after, before := query.Get("starting_after"), query.Get("ending_before")
	if after != "" && before != "" {
		return 0, nil, fail(http.StatusBadRequest, "", "'starting_after' and 'ending_before' cannot be used together.")
	}
	all, err := h.views(r)
	if err != nil {
		return 0, nil, err
	}
	from, to := 0, min(limit, len(all))
	if cursor := strings.ToLower(after + before); cursor != "" {
		at := slices.IndexFunc(all, func(w *webhook) bool { return w.ID == cursor })
		switch {
		case at < 0:
			return 0, nil, fail(http.StatusBadRequest, "", "Invalid cursor: "+cut(strings.ToValidUTF8(after+before, "?")))
		case after != "":
			from, to = at+1, min(at+1+limit, len(all))
		default:
			from, to = max(0, at-limit), at
		}
	}
	return http.StatusOK, cutPage(all, from, to), nil
}

func parseLimit(s string) (int, error) {
	if s == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fail(http.StatusBadRequest, "", "limit '"+cut(strings.ToValidUTF8(s, "?"))+"' is invalid. Should be an integer of at least 1")
	}
	return min(n, maxLimit), nil
}

func cutPage(all []*webhook, from, to int) *page {
	p := &page{Data: all[from:to], TotalCount: len(all)}
	p.PageInfo.HasPreviousPage, p.PageInfo.HasNextPage = from > 0, to < len(all)
	if n := len(p.Data); n > 0 {
		p.PageInfo.StartCursor, p.PageInfo.EndCursor = &p.Data[0].ID, &p.Data[n-1].ID
	}
	return p
}
