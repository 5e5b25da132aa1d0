package file

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/sidehook/sidehook"
)

// rateLimit reads a rate limit. It must be one: to have none it is left out.
func (l *loader) rateLimit(into *sidehook.RateLimit) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var burst float64
		failed := l.begun()
		l.mapping(n, path, fields{"per_second": l.number(&into.PerSecond), "burst": l.number(&burst)})
		if failed() {
			return
		}
		into.Burst = int(max(-1, min(burst, sidehook.MaxRateBurst+1)))
		if float64(into.Burst) != burst {
			into.Burst = -1 // refused by what checks the webhook
		}
		if into.PerSecond == 0 {
			l.failAs(path, sidehook.Fieldf("per_second", "must be %g to %d", sidehook.MinRatePerSecond, sidehook.MaxRatePerSecond))
		}
	}
}

// number reads a number.
func (r *reader) number(into *float64) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			v, err := strconv.ParseFloat(n.GetToken().Value, 64)
			if err == nil {
				*into = v
				return
			}
		}
		r.wrong(n, path, "must be a number")
	}
}
