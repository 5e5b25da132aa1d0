//go:build with_chromium

package browsertest

// words are what the console calls things in one language. Those in Vietnamese are part of what was asked for: they are
// written out here, and not read from the console's own texts.
type words struct {
	lang, other string // and the button that switches to the other language

	signIn, token, wrongToken, sidecarToken, signOut, apps string

	newWebhook, name, url, addHeader, headerName, headerValue, selectAll, patterns, retry, submit, badURL, taken, eleventh string
	created, updated, enabled, disabled, deleted                                                                           string

	edit, enable, disable, remove, test, log, confirm, cancel string

	testTitle, sendTest, testSucceeded, testFailed, close string

	reveal, rotate, overlap, oneDay, live, hide string

	deliveries, pending, details, retryNow, retried, status, filter, noMatch, replay, replayed, queueAgain string

	missed, replayMissed, replayedTwo string
}

var tongues = []words{
	{
		lang: "vi", other: "English",
		signIn: "Đăng nhập", token: "Token", wrongToken: "Token không hợp lệ.", sidecarToken: "Đây là token của sidecar",
		signOut: "Đăng xuất", apps: "Quản lý App",
		newWebhook: "Thêm mới", name: "Tên (bắt buộc)", url: "URL (bắt buộc)", addHeader: "Thêm", headerName: "Tên", headerValue: "Giá trị",
		selectAll: "Chọn tất cả", patterns: "Mẫu sự kiện", retry: "Automatic Retry", submit: "Submit",
		badURL: `phải bắt đầu bằng "http://" hoặc "https://"`, taken: `"Webhook 1" đã là tên của webhook`,
		eleventh: "app đã có 10 webhook, là số tối đa",
		created:  "Tạo webhook thành công", updated: "Đã cập nhật webhook thành công", enabled: "Đã bật webhook thành công!",
		disabled: "Đã tắt webhook thành công!", deleted: "Đã xoá thành công!",
		edit: "Sửa", enable: "Bật", disable: "Tắt", remove: "Xoá", test: "Kiểm tra", log: "Nhật ký sự kiện", confirm: "Xác nhận", cancel: "Hủy",
		testTitle: "Kiểm tra URL Webhook của bạn", sendTest: "Gửi sự kiện kiểm tra",
		testSucceeded: "Đã nhận được phản hồi từ webhook thành công!", testFailed: "Kiểm tra không thành công:", close: "Đóng",
		reveal: "Hiện khoá bí mật", rotate: "Đổi khoá bí mật", overlap: "Khoá cũ còn hiệu lực trong", oneDay: "1 ngày",
		live: "Còn hiệu lực", hide: "Ẩn",
		deliveries: "Lượt gửi", pending: "Đang chờ", details: "Chi tiết …", retryNow: "Gửi lại ngay", retried: "Đã yêu cầu gửi lại",
		status: "Trạng thái", filter: "Lọc", noMatch: "Không có kết quả", replay: "Gửi lại hàng loạt",
		replayed: "Đã đưa 1 lượt gửi vào hàng đợi lần nữa.", queueAgain: "Đưa vào hàng đợi",
		missed: "Webhook đã bỏ lỡ 2 lượt gửi trong lúc bị tắt.", replayMissed: "Gửi lại phần bị bỏ lỡ",
		replayedTwo: "Đã đưa 2 lượt gửi vào hàng đợi lần nữa.",
	},
	{
		lang: "en", other: "Tiếng Việt",
		signIn: "Sign in", token: "Token", wrongToken: "This token is not valid.", sidecarToken: "This is a sidecar's token",
		signOut: "Sign out", apps: "Apps",
		newWebhook: "Add new", name: "Name (required)", url: "URL (required)", addHeader: "Add", headerName: "Name", headerValue: "Value",
		selectAll: "Select all", patterns: "Patterns", retry: "Automatic Retry", submit: "Submit",
		badURL: `must start with "http://" or "https://"`, taken: `"Webhook 1" is the name of webhook`,
		eleventh: "app has 10 webhooks, the most it may have",
		created:  "Webhook created successfully", updated: "Webhook updated successfully", enabled: "Webhook enabled successfully!",
		disabled: "Webhook disabled successfully!", deleted: "Deleted successfully!",
		edit: "Edit", enable: "Enable", disable: "Disable", remove: "Delete", test: "Send Test Event", log: "Event log", confirm: "Confirm", cancel: "Cancel",
		testTitle: "Check your webhook URL", sendTest: "Send Test Event",
		testSucceeded: "The webhook answered successfully!", testFailed: "The test failed:", close: "Close",
		reveal: "Show secret", rotate: "Rotate secret", overlap: "Old secrets stay valid for", oneDay: "1 day",
		live: "Valid", hide: "Hide",
		deliveries: "Deliveries", pending: "Pending", details: "Details …", retryNow: "Retry now", retried: "The delivery is attempted once more",
		status: "Status", filter: "Filter", noMatch: "Nothing matches", replay: "Replay",
		replayed: "1 delivery was queued once more.", queueAgain: "Queue once more",
		missed: "The webhook missed 2 deliveries while it was disabled.", replayMissed: "Replay what it missed",
		replayedTwo: "2 deliveries were queued once more.",
	},
}
