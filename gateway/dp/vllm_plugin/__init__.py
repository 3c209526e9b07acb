"""The part of the privacy mechanisms that runs inside vLLM, self-contained: nothing of the gateway is imported here.

vLLM's environment needs only this folder. Put its parent on PYTHONPATH, then start the server with
`--logits-processors vllm_plugin.runner_v1:DpLogitsProcessor` (V1 model runner: vLLM on a CPU) or
`--logits-processors vllm_plugin.runner_gpu:DpLogitsProcessor` (the newer GPU model runner), always with
`--generation-config vllm`, never with speculative decoding. No other processor may stand after it.

It does NOT protect against the machine it runs on: who runs vLLM sees every (scrubbed) prompt and every logit.
"""
