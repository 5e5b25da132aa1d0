package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestGrowthTellsALeakFromNoise(t *testing.T) {
	const n = 300
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		value    func(i int) float64
		min, max float64
	}{
		"flat":                    {func(int) float64 { return 50 }, 0, 0},
		"noise":                   {func(int) float64 { return 50 + 10*random.Float64() }, -2, 2},
		"up and down":             {func(i int) float64 { return 50 + float64(i%30) }, -6, 6},
		"one jump near the end":   {func(i int) float64 { return map[bool]float64{false: 50, true: 80}[i > n*9/10] }, -1, 1},
		"a leak":                  {func(i int) float64 { return 50 + float64(i)/10 }, 29, 31},
		"a leak under noise":      {func(i int) float64 { return 50 + float64(i)/10 + 10*random.Float64() }, 26, 34},
		"a leak under a sawtooth": {func(i int) float64 { return 50 + float64(i)/10 + float64(i%30) }, 26, 36},
		"shrinking":               {func(i int) float64 { return 50 - float64(i)/10 }, -31, -29},
	} {
		var s series
		for i := range n {
			s.add(time.Duration(i)*time.Second, c.value(i))
		}
		if got, err := s.growth(); err != nil || got < c.min || got > c.max {
			t.Errorf("%s: grows by %g, %v, want %g to %g", name, got, err, c.min, c.max)
		}
		if late := s.after(100 * time.Second); len(late.value) != n-100 || late.at[0] != 100*time.Second {
			t.Errorf("%s: after 100 s there are %d samples from %s on", name, len(late.value), late.at[0])
		}
	}
	if _, err := new(series).growth(); err == nil {
		t.Error("no samples have a slope")
	}
}
