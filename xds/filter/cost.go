package filter

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// sizeCost makes every call cost what it looks at and makes: one, and one for each ten bytes of text.
// CEL's own costs do so for values whose types are known before the evaluation, and what is in data is not.
type sizeCost struct{}

// CallCost implements cost.ActualCostEstimator.
func (sizeCost) CallCost(_, _ string, args []ref.Val, result ref.Val) *uint64 {
	sum := 1 + sizeOf(result)/10
	for _, arg := range args {
		sum += sizeOf(arg) / 10
	}
	return &sum
}

func sizeOf(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	}
	return 0
}
