package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (c *cli) versionCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			v := struct {
				Version  string `json:"version"`
				Commit   string `json:"commit,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{c.processes.version(), commit(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return o.print(c.stdout, v, func(w io.Writer) {
				fmt.Fprintf(w, "sidehook %s\n", v.Version)
				printPairs(w, "commit", v.Commit, "go", v.Go, "platform", v.Platform)
			})
		},
	}
	o.register(cmd)
	return cmd
}

// commit is the revision that the binary was built from, with a + when the tree had changes; empty when unknown.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if revision == "" {
		return ""
	}
	return revision[:min(12, len(revision))] + modified
}
