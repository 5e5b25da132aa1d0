// Package file reads the resources that a control plane would push from a YAML file, for laptops, tests and hosts
// without a control plane, and watches the file for changes. It is not the configuration of the sidecar process itself
// (addresses, limits, folders).
//
//	apps:
//	  - id: demo
//	    policy: {display_name: Demo, https_only: false, publish: lenient} # or strict: refuse types not below
//	    webhooks:
//	      - id: crm
//	        name: CRM                       # unique within the app; default: the id
//	        url: https://crm.example.com/in
//	        events: ["person.*"]
//	        headers: [{key: X-A, value: "1"}]
//	        automatic_retry: true           # default true
//	        format: standard                # default standard
//	        signing:                        # default: as the format says
//	          {scheme: hmac, header: X-Sig, algorithm: sha256, encoding: hex, prefix: "v1=",
//	           template: "{timestamp}.{body}", timestamp_header: X-Sig-Time}
//	        transformer: redact             # default none
//	        status: enabled                 # default enabled
//	        timeout: 15s                    # default 15s
//	        retry_policy: {schedule: [5s, 5m]}
//	        ordering: key                   # default none
//	        rate_limit: {per_second: 10, burst: 20} # default none
//	        filter: data.amount > 100       # default none
//	        history_sample: 0.1             # default 1: the attempts of all deliveries are kept
//	        secrets:                        # at least one
//	          - {id: s1, key: whsec_…}      # or key_file: a file with the key, beside this one;
//	                                        # whsk_… for Ed25519, plain text for twenty and hmac
//	          - {id: s2, key_file: crm.key, not_before: 2026-01-01T00:00:00Z, not_after: 2027-01-01T00:00:00Z}
//	    transformers: [{name: redact, description: Hides names}]
//	    event_types:
//	      - {type: person.created, product: crm, name: {en: Person created}, description: {en: A person was added},
//	         sample: '{"id": 1}', schema: '{"required": ["id"]}'}
//
// The file is read strictly: an unknown key is an error, and so are anchors, aliases and tags. All that is wrong is
// reported at once, each with line, column and field.
package file
