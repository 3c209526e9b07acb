"""The console's words in English and Chinese. English is the key; a word without a translation shows in English."""

from __future__ import annotations

from collections.abc import Callable

LANGUAGES = {"en": "English", "zh": "中文"}

_CHINESE = {
    "Playground": "试验场",
    "Policies": "策略",
    "Keys": "密钥",
    "Budgets": "隐私预算",
    "Audit": "审计",
    "Traffic": "流量",
    "Health": "健康状况",
    "Sign in": "登录",
    "Sign out": "退出",
    "Skip to content": "跳到正文",
    "Main": "主导航",
    "Admin key or OIDC token": "管理密钥或 OIDC 令牌",
    "Make one on the gateway's machine: llmos keys create TENANT --role admin": "在网关主机上生成：llmos keys create TENANT --role admin",
    "Administration of a privacy gateway": "隐私网关管理",
    "Try a policy on a text. Nothing is kept or sent to a model.": "在文本上试用策略。不会保存，也不会发送给模型。",
    "Policy": "策略",
    "Text": "文本",
    "Try it": "试用",
    "What was found": "检测结果",
    "What the model would receive": "模型将收到的内容",
    "The policy refuses this text": "该策略拒绝此文本",
    "Nothing was found.": "未检测到任何内容。",
    "Entity": "实体",
    "Action": "处理方式",
    "Score": "得分",
    "Value": "值",
    "Version": "版本",
    "Author": "作者",
    "When (UTC)": "时间（UTC）",
    "Reason": "原因",
    "Serves": "适用范围",
    "Edit": "编辑",
    "New policy": "新建策略",
    "everything that no other policy matches": "其他策略未匹配的所有请求",
    "The document": "策略文档",
    "Show what would change": "查看更改",
    "What would change": "将要更改的内容",
    "Field": "字段",
    "Before": "更改前",
    "After": "更改后",
    "Nothing would change.": "没有任何更改。",
    "Why this change?": "更改原因",
    "Put in force": "生效",
    "Go on editing": "继续编辑",
    "History": "历史",
    "Go back to this": "回滚到此版本",
    "In plain words": "通俗说明",
    "is in force": "已生效",
    "Key": "密钥",
    "Tenant": "租户",
    "Role": "角色",
    "Label": "标签",
    "State": "状态",
    "Ends (UTC)": "到期（UTC）",
    "Make a key": "创建密钥",
    "Days until it ends": "有效天数",
    "Revoke": "吊销",
    "Rotate": "轮换",
    "active": "有效",
    "revoked": "已吊销",
    "expired": "已过期",
    "Copy it now: it is shown once and kept nowhere.": "请立即复制：只显示一次，不会保存。",
    "Spent (ε)": "已用（ε）",
    "Left (ε)": "剩余（ε）",
    "Budget (ε)": "预算（ε）",
    "Resets (UTC)": "重置（UTC）",
    "Spent by day (ε)": "每日消耗（ε）",
    "No policy with a privacy budget has been used yet.": "尚未使用带隐私预算的策略。",
    "Request": "请求",
    "Outcome": "结果",
    "Kind": "类型",
    "Search": "搜索",
    "Verify": "验证",
    "The log holds": "日志完整",
    "The log does NOT hold": "日志不完整",
    "records": "条记录",
    "signed up to record": "已签名至记录",
    "Records hold no text: times, ids, counts and outcomes only.": "记录不含文本，只有时间、编号、计数和结果。",
    "No record matches.": "没有匹配的记录。",
    "Requests by hour": "每小时请求数",
    "Detected values by entity": "按实体统计的检测值",
    "served": "已服务",
    "refused": "已拒绝",
    "failed": "失败",
    "the last 24 hours": "最近 24 小时",
    "As a table": "表格形式",
    "Number": "数量",
    "No requests yet.": "还没有请求。",
    "Part": "部分",
    "answers": "正常",
    "does not answer": "无响应",
    "Language": "语言",
    "Error": "错误",
    "Hours ago": "小时前",
    "any": "任意",
}


def translator(language: str) -> Callable[[str], str]:
    """The words of a language."""
    return (lambda word: _CHINESE.get(word, word)) if language == "zh" else (lambda word: word)


def chosen(wanted: str | None, accepted: str) -> str:
    """The language of a visitor: what the cookie says, else the first that the browser accepts and we have, else English."""
    if wanted in LANGUAGES:
        return wanted
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower()[:2]
        if code in LANGUAGES:
            return code
    return "en"
