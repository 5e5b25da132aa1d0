package console

import "strconv"

// paging is a page of a list that is at hand as a whole, as its template shows it.
type paging struct {
	Page, Pages     int // from 1
	First, Last, Of int // rows, from 1
	Prev, Next      string
}

// pageOf cuts the page that the reader asks for out of a list: any page that there is not is the nearest that there is, what
// is no number the first. link makes the link to a page.
func pageOf[T any](v *visit, all []T, rows int, link func(page string) string) (paging, []T) {
	p := paging{Of: len(all), Pages: max(1, (len(all)+rows-1)/rows)}
	p.Page, _ = strconv.Atoi(v.r.URL.Query().Get("page"))
	p.Page = min(max(1, p.Page), p.Pages)
	from := (p.Page - 1) * rows
	shown := all[from:min(from+rows, len(all))]
	p.First, p.Last = from+1, from+len(shown)
	if p.Page > 1 {
		p.Prev = link(strconv.Itoa(p.Page - 1))
	}
	if p.Page < p.Pages {
		p.Next = link(strconv.Itoa(p.Page + 1))
	}
	return p, shown
}

// pageLink is the link to a page of a list that is not searched.
func pageLink(page string) string { return "?page=" + page }
