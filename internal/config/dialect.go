package config

import "slices"

// Dialects lists the names of the dialects that there are; internal/app has their packages.
func Dialects() []string { return []string{"apiserver", "omicall", "twenty", "multisite"} }

// APIServerDialect are the settings of the dialect apiserver.
type APIServerDialect struct {
	// DeleteByGet makes GET /v1/webhook/{id} delete, as the API server's document has it word for word. Default false:
	// GET reads.
	DeleteByGet bool `yaml:"delete_by_get"`
}

// OMICallDialect are the settings of the dialect omicall.
type OMICallDialect struct {
	// InstanceID is the instance_id of its answers: a name. Default sidehook.
	InstanceID string `yaml:"instance_id"`
}

const defaultInstanceID = "sidehook"

func (d *document) dialects(c *Control) {
	for i, name := range c.Dialects {
		path := indexed("dialects", i)
		d.oneOf(path, name, Dialects()...)
		if slices.Contains(c.Dialects[:i], name) {
			d.failAt(path, "%.40q is given twice", name)
		}
	}
	d.name("omicall.instance_id", c.OMICall.InstanceID)
	for _, settings := range []string{"apiserver", "omicall"} {
		if d.given(settings) && !slices.Contains(c.Dialects, settings) {
			d.warnAt(settings, "is not used: %s is not among the dialects", settings)
		}
	}
}
