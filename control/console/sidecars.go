package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) sidecarRoutes() {
	c.handle("GET "+Root+"sidecars", forAdmin, func(v *visit) error { return v.listSidecars(http.StatusOK, "") })
	c.handle("POST "+Root+"sidecars/{id}/drain", forAdmin, (*visit).drainSidecar)
}

// Bounds of what the page of sidecars shows.
const (
	sidecarRows       = 20
	maxShownApps      = 5
	maxShownRefusals  = 10
	refusalsAllowance = 50_000 // of a page, in bytes of markup
	refusalAllowance  = 1_500
)

// sidecarList is the data of sidecars.html.
type sidecarList struct {
	paging
	Sidecars []sidecarRow
	// Trouble says why a sidecar was not drained.
	Trouble string
}

type sidecarRow struct {
	control.Sidecar
	MoreApps int
	Key      string // of its elements: two credentials may have sidecars of one id
	Refused  int
	MoreRef  int // refusals that are not shown
	Oldest   time.Duration
}

func (v *visit) listSidecars(code int, trouble string) error {
	page, all := pageOf(v, v.c.fleet.Sidecars(), sidecarRows, pageLink)
	data := &sidecarList{paging: page, Trouble: trouble}
	room := allowance(refusalsAllowance)
	for _, s := range all {
		data.Sidecars = append(data.Sidecars, showSidecar(s, &room))
	}
	return v.render(code, "sidecars", data)
}

func showSidecar(s control.Sidecar, room *allowance) sidecarRow {
	row := sidecarRow{Sidecar: s, Key: s.Credential + "-" + s.ID, Refused: len(s.Rejections), Oldest: s.OldestAge.Round(time.Second)}
	row.Hostname, row.Version = shorten(s.Hostname, 60), shorten(s.Version, 60)
	row.SnapshotVersion = shorten(s.SnapshotVersion, 60)
	if n := len(s.Apps); n > maxShownApps {
		row.Apps, row.MoreApps = s.Apps[:maxShownApps], n-maxShownApps
	}
	row.Rejections = nil
	for i, r := range s.Rejections {
		if i == maxShownRefusals || *room < refusalAllowance {
			row.MoreRef = len(s.Rejections) - i
			break
		}
		r.Resource, r.Reason = room.text(r.Resource, refusalAllowance/2), room.text(r.Reason, refusalAllowance/2)
		row.Rejections = append(row.Rejections, r)
	}
	return row
}

func (v *visit) drainSidecar() error {
	id := v.r.PathValue("id")
	if !sidehook.ValidName(id) {
		return errNoPage
	}
	list := Root + "sidecars"
	if ok, err := v.confirmed(v.t("sidecars.confirm-drain", "ID", id), list); !ok {
		return err
	}
	_, err := v.c.fleet.Drain(v.ctx(), id)
	switch {
	case err == nil:
		return v.done(list, "done.draining")
	case errors.Is(err, control.ErrNoSidecar):
		return v.listSidecars(http.StatusConflict, v.t("sidecars.away", "ID", id))
	case errors.Is(err, sidehook.ErrNotFound):
		return err
	}
	if found := v.problems(err); found != nil {
		return v.listSidecars(found.Code, found.All[0].Text)
	}
	if !isTrouble(err) {
		return err
	}
	code, text := v.fleetTrouble(err)
	return v.listSidecars(code, text)
}
