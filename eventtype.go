package sidehook

// EventType is an entry of an app's catalogue.
type EventType struct {
	App     string
	Type    string // as in Event.Type
	Product string // for grouping
	// Description says what it means, by language ("vi", "en").
	Description map[string]string
	// Sample is a realistic payload (JSON).
	Sample []byte
}

// MaxSampleLen bounds EventType.Sample in bytes.
const MaxSampleLen = 64 << 10
