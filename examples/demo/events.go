package main

import (
	"encoding/json"
	"fmt"
	"time"
)

// scene is one event of the demo: what happens, and in which product.
type scene struct {
	product string
	typ     string
	subject string
	data    map[string]any
}

// scenes is a day in five products, in the field names of their own documentation.
func scenes(now time.Time) []scene {
	iso := func(d time.Duration) string { return now.Add(d).UTC().Format("2006-01-02T15:04:05Z") }
	ms := func(d time.Duration) int64 { return now.Add(d).UnixMilli() }
	sec := func(d time.Duration) int64 { return now.Add(d).Unix() }
	channel := func(status string) map[string]any {
		return map[string]any{
			"id": "ch_7f3a", "name": "Chung kết bóng đá nữ", "accountId": "acc_19", "tags": []string{"sport", "live"},
			"mode": "low-latency", "status": status, "health": "excellent", "createdAt": iso(-time.Hour),
			"startTime": iso(-time.Minute), "livestreamUrl": "https://live.example/ch_7f3a/master.m3u8",
			"thumbnailUrl": "https://live.example/ch_7f3a/thumb.jpg",
		}
	}
	job := func(status string) map[string]any {
		return map[string]any{"id": "job_52", "name": "highlights.mp4", "status": status, "createdAt": iso(-time.Minute)}
	}
	return []scene{
		{"live streaming", "livestream.channel.live", "ch_7f3a", channel("live")},
		{"live streaming", "dai.ads.transcode.complete", "ad_11", map[string]any{
			"id": "ad_11", "name": "Tết 2027, 15 s", "status": "complete", "duration": 15, "createdAt": iso(-30 * time.Second),
		}},
		{"live streaming", "mediaVOD.job.created", "job_52", job("queued")},
		{"CRM", "person.created", "abc12345", map[string]any{
			"id": "abc12345", "firstName": "Alice", "lastName": "Doe", "email": "alice@example.com",
			"phone": "+84 90 123 45 67", "createdAt": iso(-5 * time.Second), "createdBy": "user_123",
		}},
		{"WordPress network", "payment_received", "payment/1042", map[string]any{
			"payment_id": 1042, "payment_status": "completed", "payment_reference_code": "A1B2C3",
			"payment_subtotal": "$49.00", "payment_subtotal_raw": 49.0, "payment_total": "$53.90", "payment_total_raw": 53.9,
			"payment_currency": "USD", "payment_product_names": "Pro plan", "payment_gateway": "stripe",
			"payment_date_created": now.UTC().Format(time.DateTime), "customer_id": 12, "customer_name": "John McMocked",
			"customer_user_email": "mockeduser@dev.dev",
		}},
		{"live streaming", "mediaVOD.job.encoding", "job_52", job("encoding")},
		{"call centre", "call", "c3b0-44aa", map[string]any{
			"transaction_id": "c3b0-44aa", "tenant_id": 88, "state": "cdr", "direction": "inbound",
			"source_number": "0901234567", "destination_number": "19001234", "hotline": "19001234", "sip_user": "101",
			"disposition": "answered", "answer_sec": 63, "bill_sec": 61, "duration": 70, "record_seconds": 61,
			"time_start_call": sec(-70 * time.Second), "time_end_call": sec(0), "created_date": ms(0), "tag": []string{},
		}},
		{"live streaming", "mediaVOD.job.complete", "job_52", job("complete")},
		{"live streaming", "livestream.channel.end", "ch_7f3a", channel("ended")},
	}
}

// payload is the scene's data as JSON.
func (s scene) payload() ([]byte, error) {
	b, err := json.Marshal(s.data)
	if err != nil {
		return nil, fmt.Errorf("payload of %s: %w", s.typ, err)
	}
	return b, nil
}
