package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// eventTypes are the commands on an app's catalogue.
type eventTypes struct {
	*remote
	named    string // --app
	language string
}

func (c *cli) eventTypeCommand() *cobra.Command {
	group, r := c.manage(c.group(&cobra.Command{
		Use:     "event-type",
		Aliases: []string{"event-types"},
		Short:   "List, import and edit the events of an app",
		Long: `List, import and edit the catalogue of an app: the events that a webhook can choose from, what they are called
and mean, and a sample payload of each. Built-in catalogues give a start; every entry can be changed.`,
		Example: `  sidehook event-type import sigma
  sidehook event-type list --product Livestream
  sidehook event-type put person.created --name vi='Tạo người liên hệ' --sample @person.json`,
	}))
	e := &eventTypes{remote: r}
	flags := group.PersistentFlags()
	flags.StringVar(&e.named, "app", "", "app (default "+envApp+", or the only app there is)")
	flags.StringVar(&e.language, "language", "en", "language of tables: vi or en")
	_ = group.RegisterFlagCompletionFunc("app", r.completeApps)
	_ = group.RegisterFlagCompletionFunc("language",
		cobra.FixedCompletions([]cobra.Completion{"vi", "en"}, cobra.ShellCompDirectiveNoFileComp))
	group.AddCommand(
		e.listCommand(), e.getCommand(), e.putCommand(), e.deleteCommand(), e.importCommand(), e.replaceCommand(),
		e.cataloguesCommand(),
	)
	return group
}

// begin connects and finds the app.
func (e *eventTypes) begin(cmd *cobra.Command) (*client.Client, string, error) {
	if !sidehook.ValidLanguage(e.language) {
		return nil, "", usagef(cmd, "--language must be one such as vi or en")
	}
	c, err := e.connect(cmd)
	if err != nil {
		return nil, "", err
	}
	app, err := e.app(cmd.Context(), c, e.named)
	return c, app, err
}

func (e *eventTypes) listCommand() *cobra.Command {
	var product string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the event types of an app, by product",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			all, err := c.EventTypes(cmd.Context(), app, product)
			if err != nil {
				return fmt.Errorf("cannot list the event types of %s: %w", app, err)
			}
			return e.print(e.cli.stdout, all, func(out io.Writer) { e.printAll(out, app, product, all) })
		},
	}
	cmd.Flags().StringVar(&product, "product", "", "only those of this product")
	return cmd
}

func (e *eventTypes) printAll(out io.Writer, app, product string, all []client.EventType) {
	switch {
	case len(all) > 0:
	case product != "":
		fmt.Fprintf(out, "App %s has no event type of product %s.\n", printable(app), printable(product))
		return
	default:
		fmt.Fprintf(out, "App %s has no event type yet; see sidehook event-type import --help\n", printable(app))
		return
	}
	rows := make([][]string, len(all))
	for i, t := range all {
		rows[i] = []string{
			t.Product, t.Type, ellipsis(sidehook.InLanguage(t.Name, e.language), 40),
			ellipsis(sidehook.InLanguage(t.Description, e.language), 70),
		}
	}
	printTable(out, []string{"PRODUCT", "TYPE", "NAME", "DESCRIPTION"}, rows)
}

func (e *eventTypes) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get TYPE",
		Aliases:           []string{"show"},
		Short:             "Show an event type with its sample payload and schema",
		Args:              takes("the event type"),
		ValidArgsFunction: e.completeTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			got, err := c.EventType(cmd.Context(), app, args[0])
			if err != nil {
				return fmt.Errorf("cannot get event type %s: %w", args[0], err)
			}
			return e.print(e.cli.stdout, got, func(out io.Writer) { printEventType(out, got) })
		},
	}
}

func printEventType(out io.Writer, t *client.EventType) {
	pairs := []string{"Type", t.Type, "Product", t.Product}
	for _, l := range slices.Sorted(maps.Keys(t.Name)) {
		pairs = append(pairs, "Name ("+printable(l)+")", t.Name[l])
	}
	for _, l := range slices.Sorted(maps.Keys(t.Description)) {
		pairs = append(pairs, "Description ("+printable(l)+")", t.Description[l])
	}
	printPairs(out, pairs...)
	printJSON(out, "Sample", t.Sample)
	printJSON(out, "Schema", t.Schema)
}

// printJSON prints JSON under a title, indented; nothing for none.
func printJSON(out io.Writer, title string, text []byte) {
	if len(text) == 0 {
		return
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		indented.Reset()
		indented.Write(text)
	}
	fmt.Fprintln(out, title+":")
	for line := range strings.Lines(indented.String()) {
		fmt.Fprintln(out, "  "+printable(strings.TrimSuffix(line, "\n")))
	}
}

// eventTypeFlags are the fields of an event type as flags.
type eventTypeFlags struct {
	product            string
	sample, schema     string
	names, description []string
}

func (e *eventTypes) putCommand() *cobra.Command {
	var f eventTypeFlags
	cmd := &cobra.Command{
		Use:   "put TYPE",
		Short: "Add an event type, or change one",
		Long: `Add an event type, or change the fields of one that the flags name; the others stay. An empty value takes a text
away, as in --name vi=, --sample "" the sample, and --schema "" the schema.`,
		Example: `  sidehook event-type put order.paid --product Shop --name en='Order paid' --name vi='Đơn hàng đã thanh toán' --sample '{"id":7}'
  sidehook event-type put order.paid --sample @order.json --schema order.schema.json`,
		Args:              takes("the event type"),
		ValidArgsFunction: e.completeTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			t, err := c.EventType(cmd.Context(), app, args[0])
			if errors.Is(err, sidehook.ErrNotFound) {
				t, err = &client.EventType{Type: args[0]}, nil
			}
			if err != nil {
				return fmt.Errorf("cannot get event type %s: %w", args[0], err)
			}
			if err := f.apply(cmd, e.cli.stdin, t); err != nil {
				return err
			}
			put, err := c.PutEventType(cmd.Context(), app, *t)
			if err != nil {
				return fmt.Errorf("cannot put event type %s: %w", args[0], err)
			}
			return e.print(e.cli.stdout, put, func(out io.Writer) {
				fmt.Fprintf(out, "Event type %s is in app %s.\n", printable(put.Type), printable(app))
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.product, "product", "", "product that it is shown under")
	flags.StringArrayVar(&f.names, "name", nil, "LANGUAGE=TEXT of what people call it; may be repeated")
	flags.StringArrayVar(&f.description, "description", nil, "LANGUAGE=TEXT of what it means; may be repeated")
	flags.StringVar(&f.sample, "sample", "", "sample payload as JSON, @FILE, or - for standard input")
	flags.StringVar(&f.schema, "schema", "", "file with the JSON Schema that data of such events fits, or - for standard input")
	return cmd
}

// apply sets the fields that the flags name.
func (f *eventTypeFlags) apply(cmd *cobra.Command, stdin io.Reader, t *client.EventType) error {
	changed := cmd.Flags().Changed
	if changed("product") {
		t.Product = f.product
	}
	var err error
	if t.Name, err = setTexts(cmd, "name", t.Name, f.names); err != nil {
		return err
	}
	if t.Description, err = setTexts(cmd, "description", t.Description, f.description); err != nil {
		return err
	}
	if changed("sample") && changed("schema") && f.sample == "-" && f.schema == "-" {
		return usagef(cmd, "--sample and --schema cannot both be standard input")
	}
	if changed("sample") {
		if t.Sample, err = readJSON(cmd, "sample", f.sample, stdin, "; put quotes around text"); err != nil {
			return err
		}
	}
	if changed("schema") {
		from := f.schema
		if from != "" && from != "-" && !strings.HasPrefix(from, "@") {
			from = "@" + from // unlike a sample, nobody types a schema into a flag
		}
		if t.Schema, err = readJSON(cmd, "schema", from, stdin, ""); err != nil {
			return err
		}
	}
	return nil
}

// readJSON reads the JSON that a flag gives or names; nil for the empty text.
func readJSON(cmd *cobra.Command, flag, from string, stdin io.Reader, hint string) (json.RawMessage, error) {
	text, err := readData(flag, from, stdin)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimSpace(text)
	if len(text) > 0 && !json.Valid(text) {
		return nil, usagef(cmd, "--%s is not valid JSON%s", flag, hint)
	}
	return text, nil
}

// setTexts puts LANGUAGE=TEXT pairs into texts; an empty text takes one out.
func setTexts(cmd *cobra.Command, flag string, texts map[string]string, pairs []string) (map[string]string, error) {
	for _, pair := range pairs {
		language, text, ok := strings.Cut(pair, "=")
		if !ok || !sidehook.ValidLanguage(language) {
			return nil, usagef(cmd, "--%s must be LANGUAGE=TEXT, such as --%s vi='Đơn hàng'", flag, flag)
		}
		if text == "" {
			delete(texts, language)
			continue
		}
		if texts == nil {
			texts = make(map[string]string)
		}
		texts[language] = text
	}
	return texts, nil
}

func (e *eventTypes) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "delete TYPE",
		Short:             "Remove an event type; webhooks keep their patterns",
		Args:              takes("the event type"),
		ValidArgsFunction: e.completeTypes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.DeleteEventType(cmd.Context(), app, args[0]); err != nil {
				return fmt.Errorf("cannot delete event type %s: %w", args[0], err)
			}
			return e.print(e.cli.stdout, map[string]string{"deleted": args[0]}, func(out io.Writer) {
				fmt.Fprintf(out, "Deleted event type %s.\n", printable(args[0]))
			})
		},
	}
}

func (e *eventTypes) importCommand() *cobra.Command {
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "import CATALOGUE",
		Short: "Add the event types of a built-in catalogue",
		Long: `Add the event types of a built-in catalogue; "sidehook event-type catalogues" lists them. Event types that the app
has already stay as they are, since somebody may have edited them; --overwrite makes them those of the catalogue.`,
		Example:           `  sidehook event-type import sigma`,
		Args:              takes("the catalogue"),
		ValidArgsFunction: e.completeCatalogues,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			changes, err := c.ImportEventTypes(cmd.Context(), app, args[0], overwrite)
			if err != nil {
				return fmt.Errorf("cannot import %s: %w", args[0], err)
			}
			return e.printChanges(app, changes)
		},
	}
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "also replace event types that the app has already")
	return cmd
}

func (e *eventTypes) replaceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "replace FILE",
		Short: "Make the event types of a file the whole catalogue of an app",
		Long: `Make the event types of a file the whole catalogue of an app, in one step: what is not in the file is removed. The
file is what "sidehook event-type list -o json" prints; - is standard input.`,
		Example: `  sidehook event-type list -o json > catalogue.json
  sidehook event-type replace catalogue.json --app other`,
		Args: takes("the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := readEventTypes(args[0], e.cli.stdin)
			if err != nil {
				return err
			}
			c, app, err := e.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			changes, err := c.ReplaceEventTypes(cmd.Context(), app, all)
			if err != nil {
				return fmt.Errorf("cannot replace the event types of %s: %w", app, err)
			}
			return e.printChanges(app, changes)
		},
	}
}

// readEventTypes reads a list of event types, strictly.
func readEventTypes(name string, stdin io.Reader) ([]client.EventType, error) {
	data := name
	if name != "-" {
		data = "@" + name
	}
	b, err := readData("catalogue", data, stdin)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	all := []client.EventType{}
	if err := dec.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s is not a list of event types as \"sidehook event-type list -o json\" prints it: %w", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("%s has more than one list of event types", name)
	}
	if all == nil {
		return nil, fmt.Errorf("%s has no list of event types; [] is an empty one", name)
	}
	return all, nil
}

func (e *eventTypes) printChanges(app string, c *client.EventTypeChanges) error {
	return e.print(e.cli.stdout, c, func(out io.Writer) {
		fmt.Fprintf(out, "Event types of app %s: %d added, %d changed, %d removed, %d kept.\n", printable(app), c.Added,
			c.Changed, c.Removed, c.Kept)
	})
}

func (e *eventTypes) cataloguesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "catalogues",
		Short: "List the built-in catalogues",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !sidehook.ValidLanguage(e.language) {
				return usagef(cmd, "--language must be one such as vi or en")
			}
			c, err := e.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			all, err := c.Catalogues(cmd.Context())
			if err != nil {
				return fmt.Errorf("cannot list the catalogues: %w", err)
			}
			return e.print(e.cli.stdout, all, func(out io.Writer) {
				rows := make([][]string, len(all))
				for i, a := range all {
					rows[i] = []string{
						a.Name, sidehook.InLanguage(a.Title, e.language), strconv.Itoa(a.EventTypes),
						strings.Join(a.Products, ", "),
					}
				}
				printTable(out, []string{"NAME", "OF", "EVENT TYPES", "PRODUCTS"}, rows)
			})
		},
	}
}
