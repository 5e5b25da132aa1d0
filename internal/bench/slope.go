package main

import (
	"fmt"
	"slices"
	"time"
)

// series is what something was at several times.
type series struct {
	at    []time.Duration
	value []float64
}

func (s *series) add(at time.Duration, value float64) {
	s.at, s.value = append(s.at, at), append(s.value, value)
}

// after drops what was before a time.
func (s *series) after(at time.Duration) series {
	i, _ := slices.BinarySearch(s.at, at)
	return series{s.at[i:], s.value[i:]}
}

func (s *series) median() float64 { return medianOf(slices.Clone(s.value)) }

func medianOf(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// growth is by how much the series grows from its first to its last time, by the slope that Theil and Sen use: the median
// of those between any two points. What goes up and down again, or jumps once, does not make it.
func (s *series) growth() (float64, error) {
	const fewest = 10
	if len(s.value) < fewest {
		return 0, fmt.Errorf("%d samples are too few to tell a slope, want %d: soak for longer", len(s.value), fewest)
	}
	slopes := make([]float64, 0, len(s.value)*(len(s.value)-1)/2)
	for i := range s.value {
		for j := range i {
			slopes = append(slopes, (s.value[i]-s.value[j])/(s.at[i]-s.at[j]).Seconds())
		}
	}
	return medianOf(slopes) * (s.at[len(s.at)-1] - s.at[0]).Seconds(), nil
}
