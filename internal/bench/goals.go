package main

import "fmt"

// goal is what a figure should reach.
type goal struct {
	atLeast bool
	value   float64
	unit    string
}

func (g goal) String() string {
	sign := "≤"
	if g.atLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g %s", sign, g.value, g.unit)
}

func (g goal) holds(v float64) bool {
	if g.atLeast {
		return v >= g.value
	}
	return v <= g.value
}

type goalKey struct{ row, metric string }

// Names of figures that have goals.
const (
	ratio        = "ratio to the yardstick"
	p50          = "p50"
	p99          = "p99"
	p999         = "p99.9"
	rate         = "rate"
	ratioAlone   = "ratio to the rate without"
	lowestRatio  = "ratio, lowest of 3"
	highestRatio = "ratio, highest of 3"
	cpuAlone     = "ratio of the sidecar's CPU per delivery"
	ready        = "ready"
	readyLoaded  = "ready with 1,000,000 pending"
	idleMemory   = "resident, idle"
	busyMemory   = "resident, at 1,000/s"
	fullMemory   = "resident, 1,000,000 pending"
	perDelivery  = "written to disk per delivery"
	took         = "took"

	ratioThousand = "ratio of the rate with 1,000 webhooks to that with 10"
	ratioMany     = "ratio of the rate with 100,000 webhooks to that with 10"
	perWebhook    = "in use (RssAnon) per configured webhook"
	perLane       = "in use (RssAnon) per webhook that was delivered to, all at one endpoint"
	perEndpoint   = "in use (RssAnon) per endpoint, besides"
)

// goals are those of the design.
var goals = map[goalKey]goal{
	{"one", ratio}:                    {true, 1.0, "×"},
	{"fanout10", ratio}:               {true, 1.25, "×"},
	{"fanout100", ratio}:              {true, 1.25, "×"},
	{"latency50", p50}:                {false, 0.5, "ms"},
	{"latency50", p99}:                {false, 1.5, "ms"},
	{"open10k", p99}:                  {false, 10, "ms"},
	{"publish", rate}:                 {true, 150_000, "/s"},
	{"deadpeers", ratioAlone}:         {true, 0.9, "×"},
	{"isolation-hanging", ratioAlone}: isolationGoal,
	{"isolation-endless", ratioAlone}: isolationGoal,
	{"isolation-busy", ratioAlone}:    isolationGoal,
	{"isolation-dns", ratioAlone}:     isolationGoal,
	{"isolation-tls", ratioAlone}:     isolationGoal,
	{"isolation-all", ratioAlone}:     isolationGoal,
	{"isolation-open", ratioAlone}:    isolationGoal,
	{"plugin", ratioAlone}:            {true, 0.75, "×"},
	{"memory", idleMemory}:            {false, 25, "MB"},
	{"memory", busyMemory}:            {false, 60, "MB"},
	{"memory", fullMemory}:            {false, 100, "MB"},
	{"start", ready}:                  {false, 50, "ms"},
	{"start", readyLoaded}:            {false, 1000, "ms"},
	{"disk", perDelivery}:             {false, 200, "B"},
	{"fleet", p99}:                    {false, 1000, "ms"},
	{"growth", ratioThousand}:         {true, 0.8, "×"},
	{"growth", ratioMany}:             {true, 0.8, "×"},
}

// isolationGoal is what a healthy endpoint keeps of its rate, whatever is wrong with others.
var isolationGoal = goal{true, 0.9, "×"}

// rowGoal is how long any row may take, with its set-up.
var rowGoal = goal{false, 60, "s"}

func goalOf(row, metric string) (goal, bool) {
	if metric == took && row != soakName {
		return rowGoal, true
	}
	g, ok := goals[goalKey{row, metric}]
	return g, ok
}
