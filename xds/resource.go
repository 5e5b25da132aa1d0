package xds

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	configv1 "github.com/sidehook/sidehook/api/config/v1"
	"github.com/sidehook/sidehook/xds/schema"
)

// Resource is one validated piece of configuration with its name. Exactly one of the pointers is set. Make it by Parse
// or one of the Of functions, and change nothing afterwards: it carries its wire form, and many goroutines share it.
type Resource struct {
	Name    string
	TypeURL string

	Webhook     *sidehook.Webhook
	Secret      *sidehook.Secret
	EventType   *sidehook.EventType
	Transformer *Transformer
	AppPolicy   *AppPolicy

	// wire is the serialized form: what Parse was given (so that fields of a newer version survive), else what the Of
	// functions marshalled. sum is the digest of name and wire. Both are empty in a literal.
	wire []byte
	sum  digest
}

// Transformer says that webhooks of an app may name a transformer.
type Transformer struct {
	App         string
	Name        string
	Description string
}

// AppPolicy is what an app may do.
type AppPolicy struct {
	App         string
	DisplayName string
	HTTPSOnly   bool
	// Publish is what becomes of events that are not in the app's catalogue; empty means sidehook.PublishLenient.
	Publish sidehook.PublishMode
}

// MaxResourceBytes bounds one serialized resource.
const MaxResourceBytes = 256 << 10

// Parse reads and validates a resource as it comes over the wire: typeURL must be one of Types, and name must be the
// one that the fields give. Errors name the field; they never contain key material.
func Parse(name string, body *anypb.Any) (*Resource, error) {
	if len(body.GetValue()) > MaxResourceBytes {
		return nil, fmt.Errorf("resource of %d bytes: limit is %d: %w", len(body.GetValue()), MaxResourceBytes,
			sidehook.ErrTooLarge)
	}
	r := &Resource{Name: name}
	var want string
	var err error
	switch body.GetTypeUrl() {
	case WebhookType:
		r.TypeURL = WebhookType
		r.Webhook, want, err = decode(body, WebhookFromProto, func(w *sidehook.Webhook) string { return WebhookName(w.Key()) })
	case SecretType:
		r.TypeURL = SecretType
		r.Secret, want, err = decode(body, SecretFromProto, func(s *sidehook.Secret) string {
			return SecretName(s.App, s.Webhook, s.ID)
		})
	case EventTypeType:
		r.TypeURL = EventTypeType
		r.EventType, want, err = decode(body, eventTypeFromProto, func(t *sidehook.EventType) string {
			return EventTypeName(t.App, t.Type)
		})
	case TransformerType:
		r.TypeURL = TransformerType
		r.Transformer, want, err = decode(body, transformerFromProto, func(t *Transformer) string {
			return TransformerName(t.App, t.Name)
		})
	case AppPolicyType:
		r.TypeURL = AppPolicyType
		r.AppPolicy, want, err = decode(body, appPolicyFromProto, func(p *AppPolicy) string { return AppPolicyName(p.App) })
	default:
		return nil, fmt.Errorf("unknown resource type %.100q", body.GetTypeUrl())
	}
	if err != nil {
		return nil, err
	}
	if name != want {
		return nil, fmt.Errorf("name is %.200q but its fields say %q", name, want)
	}
	r.wire = body.GetValue()
	r.sum = digestOf(name, r.wire)
	r.compact()
	return r, nil
}

// compact has the strings of what there may be a hundred thousand of share one piece of memory each: the garbage collector
// then has a third less to look at.
func (r *Resource) compact() {
	fields := []*string{&r.Name}
	switch {
	case r.Webhook != nil:
		w := r.Webhook
		fields = append(fields, &w.App, &w.ID, &w.Name, &w.URL, &w.Format, &w.Transformer)
		for i := range w.Events {
			fields = append(fields, &w.Events[i])
		}
		for i := range w.Headers {
			fields = append(fields, &w.Headers[i].Key, &w.Headers[i].Value)
		}
	case r.Secret != nil:
		fields = append(fields, &r.Secret.App, &r.Secret.Webhook, &r.Secret.ID)
	default:
		return
	}
	size := 0
	for _, f := range fields {
		size += len(*f)
	}
	var all strings.Builder
	all.Grow(size)
	for _, f := range fields {
		at := all.Len()
		all.WriteString(*f)
		*f = all.String()[at:]
	}
}

func decode[M any, P interface {
	*M
	proto.Message
}, T any](body *anypb.Any, convert func(P) (*T, error), name func(*T) string) (*T, string, error) {
	m := P(new(M))
	if err := proto.Unmarshal(body.GetValue(), m); err != nil {
		return nil, "", errors.New("is not a valid protobuf encoding of its type")
	}
	t, err := convert(m)
	if err != nil {
		return nil, "", err
	}
	return t, name(t), nil
}

// Proto returns the resource as it goes over the wire.
func (r *Resource) Proto() proto.Message {
	switch {
	case r.Webhook != nil:
		return WebhookToProto(r.Webhook)
	case r.Secret != nil:
		return SecretToProto(r.Secret)
	case r.EventType != nil:
		return &configv1.EventType{
			App: r.EventType.App, Type: r.EventType.Type, Product: r.EventType.Product,
			Name: r.EventType.Name, Description: r.EventType.Description, Sample: r.EventType.Sample,
			Schema: r.EventType.Schema,
		}
	case r.Transformer != nil:
		return &configv1.Transformer{
			App: r.Transformer.App, Name: r.Transformer.Name, Description: r.Transformer.Description,
		}
	default:
		return &configv1.AppPolicy{
			App: r.AppPolicy.App, DisplayName: r.AppPolicy.DisplayName, HttpsOnly: r.AppPolicy.HTTPSOnly,
			Publish: publishToProto(r.AppPolicy.Publish),
		}
	}
}

// OfWebhook wraps a webhook as a named resource.
func OfWebhook(w *sidehook.Webhook) *Resource {
	return withWire(&Resource{Name: WebhookName(w.Key()), TypeURL: WebhookType, Webhook: w})
}

// OfSecret wraps a secret.
func OfSecret(s *sidehook.Secret) *Resource {
	return withWire(&Resource{Name: SecretName(s.App, s.Webhook, s.ID), TypeURL: SecretType, Secret: s})
}

// OfEventType wraps an entry of an app's catalogue.
func OfEventType(t *sidehook.EventType) *Resource {
	return withWire(&Resource{Name: EventTypeName(t.App, t.Type), TypeURL: EventTypeType, EventType: t})
}

// OfTransformer wraps a transformer.
func OfTransformer(t *Transformer) *Resource {
	return withWire(&Resource{Name: TransformerName(t.App, t.Name), TypeURL: TransformerType, Transformer: t})
}

// OfAppPolicy wraps a policy.
func OfAppPolicy(p *AppPolicy) *Resource {
	return withWire(&Resource{Name: AppPolicyName(p.App), TypeURL: AppPolicyType, AppPolicy: p})
}

// WebhookFromProto converts, fills defaults and validates.
func WebhookFromProto(m *configv1.Webhook) (*sidehook.Webhook, error) {
	w := &sidehook.Webhook{
		App: m.GetApp(), ID: m.GetId(), Name: m.GetName(), URL: m.GetUrl(), Events: m.GetEvents(),
		AutomaticRetry: m.GetAutomaticRetry(), Format: m.GetFormat(), Transformer: m.GetTransformer(),
		DisabledReason: m.GetDisabledReason(), Signing: signingFromProto(m.GetSigning()),
	}
	if err := shapingFromProto(w, m); err != nil {
		return nil, err
	}
	var err error
	if w.CreatedAt, err = timeFromProto("created_at", m.GetCreatedAt()); err != nil {
		return nil, err
	}
	if w.UpdatedAt, err = timeFromProto("updated_at", m.GetUpdatedAt()); err != nil {
		return nil, err
	}
	for _, h := range m.GetHeaders() {
		w.Headers = append(w.Headers, sidehook.Header{Key: h.GetKey(), Value: h.GetValue()})
	}
	switch m.GetStatus() {
	case configv1.WebhookStatus_WEBHOOK_STATUS_UNSPECIFIED, configv1.WebhookStatus_WEBHOOK_STATUS_ENABLED:
		w.Status = sidehook.WebhookEnabled
	case configv1.WebhookStatus_WEBHOOK_STATUS_DISABLED:
		w.Status = sidehook.WebhookDisabled
	default:
		return nil, sidehook.Fieldf("status", "is unknown")
	}
	if t := m.GetTimeout(); t != nil {
		if w.Timeout = t.AsDuration(); w.Timeout == 0 || t.CheckValid() != nil {
			return nil, sidehook.Fieldf("timeout", "must be %s to %s", sidehook.MinTimeout, sidehook.MaxTimeout)
		}
	}
	if m.GetRetryPolicy() != nil {
		w.RetrySchedule = []time.Duration{}
		for i, d := range m.GetRetryPolicy().GetSchedule() {
			if d.CheckValid() != nil {
				return nil, sidehook.Fieldf(fmt.Sprintf("retry_policy.schedule[%d]", i), "is not a valid duration")
			}
			w.RetrySchedule = append(w.RetrySchedule, d.AsDuration())
		}
		if len(w.RetrySchedule) == 0 {
			w.RetrySchedule = nil
		}
	}
	w.Normalize()
	if err := w.Validate(); err != nil {
		return nil, err
	}
	if err := CheckFilter(w); err != nil {
		return nil, err
	}
	return w, nil
}

// WebhookToProto converts.
func WebhookToProto(w *sidehook.Webhook) *configv1.Webhook {
	m := &configv1.Webhook{
		App: w.App, Id: w.ID, Name: w.Name, Url: w.URL, Events: w.Events, AutomaticRetry: w.AutomaticRetry,
		Format: w.Format, Transformer: w.Transformer, DisabledReason: w.DisabledReason, Signing: signingToProto(w.Signing),
		Status:    configv1.WebhookStatus_WEBHOOK_STATUS_ENABLED,
		CreatedAt: timeToProto(w.CreatedAt), UpdatedAt: timeToProto(w.UpdatedAt),
	}
	if w.Status == sidehook.WebhookDisabled {
		m.Status = configv1.WebhookStatus_WEBHOOK_STATUS_DISABLED
	}
	shapingToProto(m, w)
	for _, h := range w.Headers {
		m.Headers = append(m.Headers, &configv1.Header{Key: h.Key, Value: h.Value})
	}
	if w.Timeout != 0 {
		m.Timeout = durationpb.New(w.Timeout)
	}
	if w.RetrySchedule != nil {
		m.RetryPolicy = &configv1.RetryPolicy{}
		for _, d := range w.RetrySchedule {
			m.RetryPolicy.Schedule = append(m.RetryPolicy.Schedule, durationpb.New(d))
		}
	}
	return m
}

// SecretFromProto converts and validates.
func SecretFromProto(m *configv1.Secret) (*sidehook.Secret, error) {
	kind, ok := keyKinds[m.GetKind()]
	if !ok {
		return nil, sidehook.Fieldf("kind", "is unknown")
	}
	key, err := sidehook.KeyOf(kind, m.GetKey())
	if err != nil {
		return nil, err
	}
	s := &sidehook.Secret{App: m.GetApp(), Webhook: m.GetWebhook(), ID: m.GetId(), Key: key}
	if s.NotBefore, err = timeFromProto("not_before", m.GetNotBefore()); err != nil {
		return nil, err
	}
	if s.NotAfter, err = timeFromProto("not_after", m.GetNotAfter()); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// SecretToProto converts.
func SecretToProto(s *sidehook.Secret) *configv1.Secret {
	m := &configv1.Secret{
		App: s.App, Webhook: s.Webhook, Id: s.ID, Key: s.Key.Bytes(),
		NotBefore: timeToProto(s.NotBefore), NotAfter: timeToProto(s.NotAfter),
	}
	switch s.Key.Kind() {
	case sidehook.KeyEd25519:
		m.Kind = configv1.KeyKind_KEY_KIND_ED25519
	case sidehook.KeyText:
		m.Kind = configv1.KeyKind_KEY_KIND_TEXT
	}
	return m
}

var keyKinds = map[configv1.KeyKind]sidehook.KeyKind{
	configv1.KeyKind_KEY_KIND_UNSPECIFIED: sidehook.KeySymmetric,
	configv1.KeyKind_KEY_KIND_SYMMETRIC:   sidehook.KeySymmetric,
	configv1.KeyKind_KEY_KIND_ED25519:     sidehook.KeyEd25519,
	configv1.KeyKind_KEY_KIND_TEXT:        sidehook.KeyText,
}

func signingFromProto(m *configv1.Signing) sidehook.Signing {
	return sidehook.Signing{
		Scheme: m.GetScheme(), Algorithm: m.GetAlgorithm(), Encoding: m.GetEncoding(), Header: m.GetHeader(),
		Prefix: m.GetPrefix(), Template: m.GetTemplate(), TimestampHeader: m.GetTimestampHeader(),
	}
}

func signingToProto(s sidehook.Signing) *configv1.Signing {
	if s == (sidehook.Signing{}) {
		return nil
	}
	return &configv1.Signing{
		Scheme: s.Scheme, Algorithm: s.Algorithm, Encoding: s.Encoding, Header: s.Header, Prefix: s.Prefix,
		Template: s.Template, TimestampHeader: s.TimestampHeader,
	}
}

func eventTypeFromProto(m *configv1.EventType) (*sidehook.EventType, error) {
	t := &sidehook.EventType{
		App: m.GetApp(), Type: m.GetType(), Product: m.GetProduct(), Name: m.GetName(), Description: m.GetDescription(),
		Sample: m.GetSample(), Schema: m.GetSchema(),
	}
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if len(t.Schema) > 0 {
		if _, err := schema.Compile(t.Schema); err != nil {
			return nil, sidehook.Under("schema", err)
		}
	}
	return t, nil
}

func transformerFromProto(m *configv1.Transformer) (*Transformer, error) {
	if !sidehook.ValidName(m.GetApp()) {
		return nil, sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	if !sidehook.ValidName(m.GetName()) {
		return nil, sidehook.Fieldf("name", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	return &Transformer{App: m.GetApp(), Name: m.GetName(), Description: m.GetDescription()}, nil
}

func appPolicyFromProto(m *configv1.AppPolicy) (*AppPolicy, error) {
	if !sidehook.ValidName(m.GetApp()) {
		return nil, sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	p := &AppPolicy{App: m.GetApp(), DisplayName: m.GetDisplayName(), HTTPSOnly: m.GetHttpsOnly()}
	switch m.GetPublish() {
	case configv1.PublishMode_PUBLISH_MODE_UNSPECIFIED:
	case configv1.PublishMode_PUBLISH_MODE_LENIENT:
		p.Publish = sidehook.PublishLenient
	case configv1.PublishMode_PUBLISH_MODE_STRICT:
		p.Publish = sidehook.PublishStrict
	default:
		return nil, sidehook.Fieldf("publish", "is unknown")
	}
	return p, nil
}

func publishToProto(m sidehook.PublishMode) configv1.PublishMode {
	switch m {
	case sidehook.PublishStrict:
		return configv1.PublishMode_PUBLISH_MODE_STRICT
	case sidehook.PublishLenient:
		return configv1.PublishMode_PUBLISH_MODE_LENIENT
	}
	return configv1.PublishMode_PUBLISH_MODE_UNSPECIFIED
}

// timeFromProto gives the zero time for an unset timestamp and an error for one outside the years 1 to 9999.
func timeFromProto(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if t.CheckValid() != nil {
		return time.Time{}, sidehook.Fieldf(field, "is not a valid time")
	}
	return t.AsTime(), nil
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
