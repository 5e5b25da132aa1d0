package console

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) transformerRoutes() {
	c.addTab("transformers", "tab.transformers")
	c.handle("GET "+Root+"apps/{app}/transformers", forApp, (*visit).listTransformers)
}

// Bounds of what the page of transformers shows.
const (
	maxTransformers        = 50
	maxTransformerSidecars = 20 // of each; those in trouble first
	maxTransformerError    = 300
	transformersAllowance  = 70_000
)

// transformerList is the data of transformers.html.
type transformerList struct {
	Transformers []transformerRow
	More         int // that are not shown
	// Sidecars of the app that are connected.
	Sidecars int
}

type transformerRow struct {
	Name     string
	Webhooks []*sidehook.Webhook // that name it
	On       []transformerOn
	More     int // sidecars that are not shown
	// Absent are the connected sidecars that did not tell of it.
	Absent int
}

// transformerOn is a transformer on one sidecar.
type transformerOn struct {
	Sidecar string
	control.TransformerStatus
}

func (v *visit) listTransformers() error {
	webhooks, err := v.c.svc.AllWebhooks(v.ctx(), v.app.ID)
	if err != nil {
		return err
	}
	data := &transformerList{}
	rows := make(map[string]*transformerRow)
	of := func(name string) *transformerRow {
		if rows[name] == nil {
			rows[name] = &transformerRow{Name: name}
		}
		return rows[name]
	}
	for _, w := range webhooks {
		if w.Transformer != "" {
			row := of(w.Transformer)
			row.Webhooks = append(row.Webhooks, w)
		}
	}
	for _, s := range v.c.fleet.Sidecars() {
		if !s.Connected || !slices.Contains(s.Apps, v.app.ID) {
			continue
		}
		data.Sidecars++
		for _, t := range s.Transformers {
			row := of(t.Name)
			row.On = append(row.On, transformerOn{s.ID, t})
		}
	}
	for _, row := range rows {
		data.Transformers = append(data.Transformers, *row)
	}
	slices.SortFunc(data.Transformers, func(a, b transformerRow) int {
		return cmp.Or(cmp.Compare(min(1, len(b.Webhooks)), min(1, len(a.Webhooks))), cmp.Compare(a.Name, b.Name))
	})
	data.bound()
	return v.render(http.StatusOK, "transformers", data)
}

// bound keeps the page small; what is left out is counted, and what works is left out first.
func (l *transformerList) bound() {
	if n := len(l.Transformers); n > maxTransformers {
		l.Transformers, l.More = l.Transformers[:maxTransformers], n-maxTransformers
	}
	room := allowance(transformersAllowance)
	for i := range l.Transformers {
		row := &l.Transformers[i]
		row.Absent = max(0, l.Sidecars-len(row.On))
		slices.SortStableFunc(row.On, func(a, b transformerOn) int { return cmp.Compare(trouble(b.State), trouble(a.State)) })
		for j := range row.On {
			t := &row.On[j]
			if j >= maxTransformerSidecars || room <= 0 {
				row.On, row.More = row.On[:j], len(row.On)-j
				break
			}
			t.Version = room.text(t.Version, 100)
			t.Error = room.text(shorten(t.Error, maxTransformerError), 2000)
			room -= 500 // the row around them
		}
	}
}

// trouble orders the states: the more it asks for somebody's attention, the greater.
func trouble(s control.TransformerState) int {
	switch s {
	case control.TransformerFailing:
		return 3
	case control.TransformerMissing:
		return 2
	case control.TransformerRunning:
		return 1
	}
	return 0
}
