package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/plugin/scaffold"
)

func (c *cli) pluginInitCommand() *cobra.Command {
	o := scaffold.Options{Version: c.processes.version()}
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Write a transformer to start from",
		Long: `Write a folder with a small transformer that works: the program, its tests and a README. Nothing that is there is
overwritten. What to do next is printed.`,
		Example: `  sidehook plugin init redact
  sidehook plugin init redact --lang node --dir services/redact`,
		Args:              takes("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name = args[0]
			if err := scaffold.CheckName(o.Name); err != nil {
				return usagef(cmd, "%w", err)
			}
			if !slices.Contains(scaffold.Languages(), o.Language) {
				return usagef(cmd, "--lang must be %s, not %q", strings.Join(scaffold.Languages(), " or "), o.Language)
			}
			if o.Replace != "" && o.Language != scaffold.Go {
				return usagef(cmd, "--replace is for --lang %s alone", scaffold.Go)
			}
			if o.Dir == "" {
				o.Dir = o.Name
			}
			files, err := scaffold.Write(o)
			if err != nil {
				return err
			}
			return c.printNext(o, files)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Language, "lang", scaffold.Go, "language: "+strings.Join(scaffold.Languages(), " or "))
	flags.StringVar(&o.Dir, "dir", "", "folder to write, which must be empty; default NAME")
	flags.StringVar(&o.Replace, "replace", "", "build with the checkout of Sidehook in this folder")
	_ = cmd.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions(scaffold.Languages(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("dir")
	_ = cmd.MarkFlagDirname("replace")
	return cmd
}

// printNext says what was written and how it becomes a running transformer.
func (c *cli) printNext(o scaffold.Options, files []string) error {
	abs, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", o.Dir, err)
	}
	program, steps := goSteps(o, abs)
	if o.Language == scaffold.Node {
		program, steps = nodeSteps(o, abs)
	}
	snippet, err := yaml.Marshal(map[string][]installed{"transformers": {program}})
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	fmt.Fprintf(c.stdout, "Wrote to %s: %s\n\nNext:\n", printable(o.Dir), strings.Join(files, ", "))
	printLines(c.stdout, append([]string{"cd " + shellWord(folderWord(o.Dir))}, steps...))
	fmt.Fprint(c.stdout, "\nIn the configuration of a sidecar:\n")
	printLines(c.stdout, strings.Split(strings.TrimSuffix(string(snippet), "\n"), "\n"))
	return nil
}

// installed is a transformer as the configuration of a sidecar names it.
type installed struct {
	Name    string   `yaml:"name"`
	Command string   `yaml:"command"`
	Args    []string `yaml:"args,omitempty"`
}

func goSteps(o scaffold.Options, abs string) (installed, []string) {
	var steps []string
	if o.Replace == "" && !scaffold.Released(o.Version) {
		steps = append(steps,
			"# This sidehook has no released version: say where a checkout of it is.",
			"go mod edit -replace "+scaffold.Module+"=CHECKOUT")
	}
	return installed{Name: o.Name, Command: filepath.Join(abs, o.Name)}, append(steps,
		"go mod tidy",
		"go build -o "+o.Name+" .",
		"go test .",
		"sidehook plugin verify ./"+o.Name,
		"sidehook dev --transformer "+o.Name+"=./"+o.Name)
}

func nodeSteps(o scaffold.Options, abs string) (installed, []string) {
	node, err := exec.LookPath("node")
	if err != nil {
		node = "/usr/bin/node" // where it will be, once it is installed
	}
	return installed{Name: o.Name, Command: node, Args: []string{filepath.Join(abs, "main.mjs")}}, []string{
		"npm ci",
		"sidehook plugin verify " + shellWord(node) + " main.mjs",
		"sidehook dev --transformer " + o.Name + "=./main.mjs",
	}
}

func printLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintf(w, "  %s\n", printable(line))
	}
}

// folderWord keeps a folder from being taken for an option.
func folderWord(dir string) string {
	if strings.HasPrefix(dir, "-") {
		return "./" + dir
	}
	return dir
}

// shellWord is text as one word of a shell's command line.
func shellWord(text string) string {
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r > '~' || !strings.ContainsRune("/._-+=:@%,", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
