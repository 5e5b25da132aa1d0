package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/client"
)

// Where the commands find things unless told otherwise.
const (
	envServer = "SIDEHOOK_SERVER"
	envToken  = "SIDEHOOK_TOKEN"
	envApp    = "SIDEHOOK_APP"

	devDataDir     = "sidehook-data" // of sidehook dev, in the working directory
	adminTokenFile = "admin.token"

	maxTokenFile = 4 << 10
)

// remote is how a command reaches the control plane.
type remote struct {
	output
	cli                              *cli
	server, token, tokenFile, caFile string
}

// manage makes a group of commands that talk to the control plane.
func (c *cli) manage(cmd *cobra.Command) (*cobra.Command, *remote) {
	r := &remote{cli: c}
	r.register(cmd)
	return cmd, r
}

func (r *remote) register(cmd *cobra.Command) {
	cmd.GroupID = groupManage
	cmd.Long += `

The control plane is the one at --server (or ` + envServer + `). The token is that of --token-file, --token or
` + envToken + `; for a control plane on this host it is found in ./` + devDataDir + `, where sidehook dev keeps it.`
	flags := cmd.PersistentFlags()
	flags.StringVar(&r.server, "server", "", "URL of the control plane (default "+client.DefaultServer+")")
	flags.StringVar(&r.tokenFile, "token-file", "", "file with the token")
	flags.StringVar(&r.token, "token", "", "the token itself; other users of this host can see it, so prefer --token-file")
	flags.StringVar(&r.caFile, "ca-file", "", "PEM certificates to trust instead of the system's")
	r.output.register(cmd)
}

// connect makes the client that the flags and the environment ask for.
func (r *remote) connect(cmd *cobra.Command) (*client.Client, error) {
	if err := r.check(cmd); err != nil {
		return nil, err
	}
	if r.token != "" && r.tokenFile != "" {
		return nil, usagef(cmd, "--token and --token-file exclude each other")
	}
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	if c.Exposed() {
		fmt.Fprintf(r.cli.stderr, "warning: the token travels unencrypted to %s; use https\n", c.Server())
	}
	return c, nil
}

func (r *remote) client() (*client.Client, error) {
	server := first(r.server, r.cli.getenv(envServer), client.DefaultServer)
	token, err := r.findToken(server)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{
		Server: server, Token: token, CAFile: r.caFile, UserAgent: "sidehook/" + r.cli.processes.version(),
	})
}

func (r *remote) findToken(server string) (string, error) {
	switch {
	case r.tokenFile != "":
		return readToken(r.tokenFile)
	case r.token != "":
		return r.token, nil
	case r.cli.getenv(envToken) != "":
		return r.cli.getenv(envToken), nil
	}
	// The token of sidehook dev is for the control plane on this host: it is shown to no other.
	if u, err := url.Parse(server); err != nil || !client.Loopback(u.Hostname()) {
		return "", nil
	}
	token, err := readToken(filepath.Join(devDataDir, adminTokenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // the control plane says what is missing
	}
	return token, err
}

// readToken returns the first line of a file.
func readToken(path string) (_ string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("cannot read the token: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimSpace(line); line == "" {
		return "", fmt.Errorf("%s holds no token on its first line", path)
	}
	return line, nil
}

// app returns the app that a command is about: the one named, or the only one there is.
func (r *remote) app(ctx context.Context, c *client.Client, named string) (string, error) {
	if app := first(named, r.cli.getenv(envApp)); app != "" {
		return app, nil
	}
	apps, err := c.Apps(ctx)
	if err != nil {
		return "", err
	}
	ids := make([]string, len(apps))
	for i, a := range apps {
		ids[i] = printable(a.ID)
	}
	switch len(ids) {
	case 0:
		return "", errors.New("there is no app yet; make one: sidehook app create ID")
	case 1:
		return apps[0].ID, nil
	}
	const shown = 10
	more := ""
	if len(ids) > shown {
		ids, more = ids[:shown], ", …"
	}
	return "", fmt.Errorf("say which app with --app (or %s): %s%s", envApp, strings.Join(ids, ", "), more)
}

// advise adds the next step to errors that have an obvious one.
func advise(err error) string {
	text := err.Error()
	var unreachable *client.UnreachableError
	var problem *client.Problem
	switch {
	case errors.As(err, &unreachable):
		text += "\nStart one with \"sidehook dev\", or say where it is with --server or " + envServer + "."
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		text += "\nShow a token with --token-file or " + envToken +
			". The first admin token is in the file that the control plane names when it starts."
	}
	return text
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
