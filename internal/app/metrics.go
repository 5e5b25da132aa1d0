package app

import (
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/plugin/host"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// metrics are what /metrics tells of a sidecar. A scrape reads counters and never scans the store.
type metrics struct {
	registry *prometheus.Registry
	latency  *prometheus.HistogramVec
}

func newMetrics(s *Sidecar) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sidehook_attempt_duration_seconds",
			Help:    "How long attempts took, by what they meant.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.latency, &sidecarCollector{s})
	return m
}

// observe is told of every attempt by the engine.
func (m *metrics) observe(_ sidehook.WebhookKey, a *sidehook.Attempt) {
	m.latency.WithLabelValues(a.Outcome.Kind.String()).Observe(a.Latency.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// sidecarCollector turns the sidecar's own counters into metrics at the time of a scrape.
type sidecarCollector struct{ s *Sidecar }

var (
	descEvents = prometheus.NewDesc("sidehook_events_total",
		"Events taken since the start, by what became of them.", []string{"disposition"}, nil)
	descUnknown = prometheus.NewDesc("sidehook_events_unknown_type_total",
		"Events since the start whose type is not in their app's catalogue: taken, or refused with their batch.",
		[]string{"publish"}, nil)
	descInvalid = prometheus.NewDesc("sidehook_events_invalid_data_total",
		"Events since the start whose data does not fit the schema of their type: taken, or refused with their batch.",
		[]string{"publish"}, nil)
	descDeliveries = prometheus.NewDesc("sidehook_deliveries_total",
		"Deliveries that ended since the start, by state.", []string{"state"}, nil)
	descAttempts = prometheus.NewDesc("sidehook_attempts_total",
		"Attempts since the start.", nil, nil)
	descFailed = prometheus.NewDesc("sidehook_attempts_failed_total",
		"Attempts since the start that failed.", nil, nil)
	descFiltered = prometheus.NewDesc("sidehook_filtered_total",
		"Events since the start that the patterns of a webhook matched and its filter did not.", nil, nil)
	descFilterErrors = prometheus.NewDesc("sidehook_filter_errors_total",
		"Those of them for which the filter had no answer.", nil, nil)
	descPending = prometheus.NewDesc("sidehook_pending_deliveries",
		"Deliveries that have not ended, held events included.", nil, nil)
	descHeld = prometheus.NewDesc("sidehook_held_events",
		"Events that wait for a first configuration.", nil, nil)
	descOldest = prometheus.NewDesc("sidehook_oldest_pending_seconds",
		"Age of the oldest delivery that has not ended.", nil, nil)
	descMemory = prometheus.NewDesc("sidehook_deliveries_in_memory",
		"Deliveries held in memory; the other pending ones wait on disk.", nil, nil)
	descBytes = prometheus.NewDesc("sidehook_store_bytes",
		"What the store holds, as far as known.", []string{"part"}, nil)
	descAside = prometheus.NewDesc("sidehook_store_set_aside",
		"1 when the queue's database was found damaged at the start, and set aside.", nil, nil)
	descRebuilt = prometheus.NewDesc("sidehook_store_rebuilt_deliveries",
		"Deliveries that the rebuild of a damaged queue at the start found, by what it found.", []string{"found"}, nil)
	descDamaged = prometheus.NewDesc("sidehook_store_damaged_total",
		"Records, bodies and segments of the queue that could not be read since the start.", nil, nil)
	descReady = prometheus.NewDesc("sidehook_ready",
		"1 when the sidecar has configuration and takes events.", nil, nil)
	descStale = prometheus.NewDesc("sidehook_config_stale",
		"1 when the configuration comes from disk and the control plane was not reached since the start.", nil, nil)
	descRejected = prometheus.NewDesc("sidehook_config_rejected_resources",
		"Resources that were refused and not replaced since.", nil, nil)
	descConnected = prometheus.NewDesc("sidehook_control_plane_connected_state",
		"1 when the control plane is connected.", nil, nil)
	descRefused = prometheus.NewDesc("sidehook_publish_refused_total",
		"Batches of events that were refused since the start, by reason.", []string{"reason"}, nil)
	descPlugin = prometheus.NewDesc("sidehook_transformer_running",
		"1 while the transformer's process answers.", []string{"transformer"}, nil)
	descRestarts = prometheus.NewDesc("sidehook_transformer_restarts_total",
		"Starts of the transformer's process after the first.", []string{"transformer"}, nil)
	descInfo = prometheus.NewDesc("sidehook_build_info", "Always 1.", []string{"version"}, nil)
)

// Describe implements prometheus.Collector.
func (c *sidecarCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *sidecarCollector) Collect(ch chan<- prometheus.Metric) {
	var counts outbound.Counts
	if c.s.engine != nil {
		counts = c.s.engine.Counts()
	}
	var stats storage.Stats
	var damaged int64
	var rebuilt badgerstore.Rebuilt
	if c.s.store != nil {
		stats, damaged = c.s.store.Stats(), c.s.store.Damaged()
		rebuilt, _ = c.s.store.Rebuilt()
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(descEvents, counts.Accepted, "accepted")
	counter(descEvents, counts.Duplicates, "duplicate")
	counter(descEvents, counts.Unmatched, "unmatched")
	counter(descEvents, counts.Held, "held")
	counter(descFiltered, counts.Filtered)
	counter(descFilterErrors, counts.FilterErrors)
	counter(descUnknown, counts.UnknownTaken, "taken")
	counter(descUnknown, counts.UnknownRefused, "refused")
	counter(descInvalid, counts.InvalidTaken, "taken")
	counter(descInvalid, counts.InvalidRefused, "refused")
	counter(descDeliveries, counts.Delivered, "delivered")
	counter(descDeliveries, counts.Dead, "dead")
	counter(descDeliveries, counts.Dropped, "dropped")
	counter(descAttempts, counts.Attempts)
	counter(descFailed, counts.Failed)
	counter(descDamaged, damaged)
	gauge(descPending, float64(stats.Pending))
	gauge(descHeld, float64(stats.Held))
	age := 0.0
	if !stats.OldestPending.IsZero() {
		age = time.Since(stats.OldestPending).Seconds()
	}
	gauge(descOldest, age)
	gauge(descMemory, float64(counts.InMemory))
	gauge(descBytes, float64(stats.Bytes), "all")
	gauge(descBytes, float64(stats.HistoryBytes), "history")
	gauge(descAside, boolValue(c.s.setAside != ""))
	gauge(descRebuilt, float64(rebuilt.Pending), "pending")
	gauge(descRebuilt, float64(rebuilt.Requeued), "due_at_once")
	gauge(descRebuilt, float64(rebuilt.Unknown), "without_event")
	ready, _ := c.s.readiness()
	gauge(descReady, boolValue(ready))
	if c.s.source != nil {
		gauge(descStale, boolValue(c.s.stale()))
		gauge(descConnected, boolValue(c.s.source.status().Connected))
		gauge(descRejected, float64(len(c.s.source.rejections())))
	}
	if c.s.ingest != nil {
		r := &c.s.ingest.Metrics().Refused
		for reason, n := range map[string]*atomic.Uint64{
			"invalid": &r.Invalid, "unknown_app": &r.UnknownApp, "too_large": &r.TooLarge, "full": &r.Full,
			"stopping": &r.Stopping, "canceled": &r.Canceled, "internal": &r.Internal,
		} {
			counter(descRefused, int64(n.Load()), reason)
		}
	}
	if c.s.plugins != nil {
		for _, st := range c.s.plugins.Status() {
			gauge(descPlugin, boolValue(st.State == host.Running), st.Name)
			counter(descRestarts, st.Restarts, st.Name)
		}
	}
	gauge(descInfo, 1, Version())
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// version is set by the build with -ldflags "-X …/internal/app.version=…".
var version string

// Version of this binary: as stamped by the build, else the module's, else "dev".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
