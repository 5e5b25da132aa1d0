package schema

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// compileError says in a person's words why a schema is none. The library's own errors name this process's location of
// the schema.
func compileError(err error) error {
	var (
		invalid *jsonschema.SchemaValidationError
		load    *jsonschema.LoadURLError
		draft   *jsonschema.UnsupportedDraftError
		regex   *jsonschema.InvalidRegexError
		missing *jsonschema.JSONPointerNotFoundError
		anchor  *jsonschema.AnchorNotFoundError
	)
	switch {
	case errors.As(err, &invalid):
		var ve *jsonschema.ValidationError
		if errors.As(invalid.Err, &ve) {
			return placed("", first(ofSchema(violations(nil, ve))))
		}
		return placed(invalid.URL, "is not a JSON Schema")
	case errors.As(err, &regex):
		return placed(regex.URL, "is not a pattern that is taken"+reason(regex.Err))
	case errors.As(err, &load):
		return placed("", clip(strings.TrimPrefix(load.URL, location), 100)+" is outside the schema; "+errRemote.Error())
	case errors.As(err, &draft):
		return placed("", "$schema names no draft that is known; leave it out for 2020-12")
	case errors.As(err, &missing):
		return placed("", "there is nothing at "+cmp.Or(pointerOf(missing.URL), "the reference"))
	case errors.As(err, &anchor):
		return placed("", "there is no anchor "+clip(fragmentOf(anchor.Reference), 100))
	}
	return placed("", clip(strings.ReplaceAll(err.Error(), location, ""), 300))
}

// dataError says in a person's words why data does not fit.
func dataError(err error) error {
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return err
	}
	return errors.New(first(violations(nil, ve)))
}

// violation is one thing that is wrong with the data: where, and what.
type violation struct{ at, what string }

func (v violation) String() string {
	if v.at == "" {
		return v.what
	}
	return clip(v.at, 200) + ": " + v.what
}

// first words the violation that stands first by its place, and how many more there are.
func first(all []violation) string {
	text := slices.MinFunc(all, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.what, b.what))
	}).String()
	if len(all) > 1 {
		text += fmt.Sprintf(" (and %d more)", len(all)-1)
	}
	return text
}

// ofSchema says of violations of the schema of schemas what they mean to a person.
func ofSchema(all []violation) []violation {
	for i, v := range all {
		if strings.HasSuffix(v.at, "/type") && v.what == noAlternative {
			all[i].what = "must be object, array, string, number, integer, boolean or null, or a list of such"
		}
	}
	return all
}

const noAlternative = "fits none of the alternatives"

// violations takes the library's tree apart. Of alternatives none fits, which is one violation: what is wrong with each
// would tell more than anybody wants to know.
func violations(all []violation, err *jsonschema.ValidationError) []violation {
	switch err.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.MinContains, *kind.PropertyNames:
		return append(all, violation{pointer(err.InstanceLocation), words(err.ErrorKind)})
	}
	if len(err.Causes) > 0 {
		for _, cause := range err.Causes {
			all = violations(all, cause)
		}
		return all
	}
	at := err.InstanceLocation
	switch k := err.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			all = append(all, violation{pointer(at, name), "is required"})
		}
		return all
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			all = append(all, violation{pointer(at, name), "is none of the properties there are"})
		}
		return all
	}
	return append(all, violation{pointer(at), words(err.ErrorKind)})
}

var english = message.NewPrinter(language.English)

// words says what is wrong without the value, which may be private and long.
func words(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ") + ", not " + k.Got
	case *kind.Enum, *kind.Const:
		return "is not among the values it may have"
	case *kind.Pattern:
		return "does not match the pattern " + clip(k.Want, 100)
	case *kind.Format: // of schemas only: of data, formats are not looked at
		if k.Want == "regex" {
			return "is not a pattern that is taken" + reason(k.Err)
		}
		return "is no " + clip(k.Want, 40) + reason(k.Err)
	case *kind.FalseSchema:
		return "must not be there"
	case *kind.AnyOf:
		return noAlternative
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "fits more than one of the alternatives"
		}
		return noAlternative
	case *kind.Not:
		return "is what it must not be"
	case *kind.Contains, *kind.MinContains:
		return "lacks an element that it must contain"
	case *kind.PropertyNames:
		return "has a property whose name is not allowed"
	case *kind.UniqueItems:
		return fmt.Sprintf("elements %d and %d are the same", k.Duplicates[0], k.Duplicates[1])
	}
	return clip(k.LocalizedString(english), 200)
}

// reason is why a text of a schema is not of its format.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return ": " + clip(err.Error(), 150)
}

// pointer is a JSON pointer (RFC 6901).
func pointer(at []string, more ...string) string {
	var b strings.Builder
	for _, token := range slices.Concat(at, more) {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// pointerOf is the JSON pointer that a location of the library ends in.
func pointerOf(at string) string { return clip(fragmentOf(at), 200) }

func fragmentOf(at string) string {
	_, fragment, _ := strings.Cut(at, "#")
	return fragment
}

// clip shortens text, and takes out of it what does not print.
func clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}
