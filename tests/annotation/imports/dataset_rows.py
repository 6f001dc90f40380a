"""A row of each dataset format, as the public datasets have them, shortened."""

from __future__ import annotations

from typing import Any

USER = {"role": "user", "content": "Why is the sky blue?"}
SHORT = {"role": "assistant", "content": "Because of the air."}
LONG = {"role": "assistant", "content": "Blue light is scattered most."}
HH = "\n\nHuman: Why is the sky blue?\n\nAssistant: "

ROWS: dict[str, dict[str, Any]] = {
    "palate": {"prompt": USER["content"], "responses": [SHORT["content"], LONG["content"]], "tags": ["air"]},
    "hh-rlhf": {"chosen": HH + SHORT["content"], "rejected": HH + LONG["content"]},
    "ultrafeedback": {
        "source": "evol_instruct",
        "instruction": USER["content"],
        "models": ["alpaca-7b", "gpt-4"],
        "completions": [
            {"model": "alpaca-7b", "response": SHORT["content"], "overall_score": 4.0, "annotations": {}},
            {"model": "gpt-4", "response": LONG["content"], "overall_score": 8.5, "annotations": {}},
        ],
        "correct_answers": ["None"],
    },
    "ultrafeedback-binarized": {
        "prompt": USER["content"],
        "prompt_id": "f0e37e9f",
        "chosen": [USER, SHORT],
        "rejected": [USER, LONG],
        "messages": [USER, SHORT],
        "score_chosen": 8.5,
        "score_rejected": 4.0,
    },
    "helpsteer3": {
        "domain": "general",
        "language": "english",
        "context": [USER],
        "response1": SHORT["content"],
        "response2": LONG["content"],
        "overall_preference": -2,
        "individual_preference": [{"score": -2, "reasoning": "…"}],
    },
    "nemo-rl": {
        "context": [USER],
        "completions": [{"rank": 1, "completion": [SHORT]}, {"rank": 0, "completion": [LONG]}],
    },
    "helpsteer2-preference": {
        "split": "train",
        "prompt": USER["content"],
        "response_1": SHORT["content"],
        "response_2": LONG["content"],
        "preference_strength": -1,
    },
    "arena": {
        "question_id": "58210e39",
        "model_a": "vicuna-13b",
        "model_b": "koala-13b",
        "winner": "model_a",
        "judge": "arena_user_973",
        "conversation_a": [USER, SHORT],
        "conversation_b": [USER, LONG],
        "turn": 1,
    },
    "arena-table": {
        "id": 30192,
        "model_a": "vicuna-13b",
        "model_b": "koala-13b",
        "prompt": '["Why is the sky blue?", "And at night?"]',
        "response_a": '["Because of the air.", "It is black."]',
        "response_b": '["Blue light is scattered most.", null]',
        "winner_model_a": 1,
    },
    "safe-rlhf": {
        "prompt": USER["content"],
        "response_0": SHORT["content"],
        "response_1": LONG["content"],
        "response_0_source": "alpaca",
        "response_1_source": "beaver",
        "is_response_0_safe": True,
        "is_response_1_safe": True,
        "better_response_id": 1,
        "safer_response_id": 1,
    },
    "nectar": {
        "prompt": HH,
        "answers": [
            {"answer": SHORT["content"], "model": "a", "rank": 2.0},
            {"answer": LONG["content"], "model": "b", "rank": 1.0},
        ],
        "turns": 1,
        "num_responses": 2,
        "source": ["web"],
        "good_natured": True,
    },
    "shp": {
        "post_id": "x1",
        "history": USER["content"],
        "human_ref_A": SHORT["content"],
        "human_ref_B": LONG["content"],
        "score_A": 3,
        "score_B": 9,
        "labels": 0,
        "upvote_ratio": 0.9,
    },
    "webgpt": {
        "question": {"dataset": "eli5", "id": "1", "full_text": USER["content"]},
        "answer_0": SHORT["content"],
        "answer_1": LONG["content"],
        "quotes_0": {"title": [], "extract": []},
        "quotes_1": {"title": ["t"], "extract": ["e"]},
        "score_0": -1.0,
        "score_1": 1.0,
    },
    "summaries": {
        "info": {"id": "t3", "post": USER["content"], "title": None, "subreddit": "science"},
        "summaries": [
            {"text": SHORT["content"], "policy": "sup1", "note": ""},
            {"text": LONG["content"], "policy": "sup2", "note": ""},
        ],
        "choice": 1,
        "worker": "w",
    },
    "multipref": {
        "comparison_id": "c",
        "text": USER["content"],
        "completion_a": SHORT["content"],
        "completion_b": LONG["content"],
        "model_a": "a",
        "model_b": "b",
        "normal_worker_annotations": [{}],
    },
    "prometheus": {
        "orig_criteria": "Is it right?",
        "orig_instruction": USER["content"],
        "orig_response_A": SHORT["content"],
        "orig_response_B": LONG["content"],
        "orig_preference": "B",
        "instruction": "###Task …",
        "output": "… [RESULT] B",
    },
    "distilabel": {
        "instruction": USER["content"],
        "generations": [SHORT["content"], LONG["content"]],
        "generation_models": ["a", "b"],
        "ratings": [2, 5],
        "rationales": ["short", "right"],
    },
    "alpaca-ranking": {
        "instruction": USER["content"],
        "input": "",
        "chosen": SHORT["content"],
        "rejected": LONG["content"],
    },
    "orca-pairs": {
        "system": "",
        "question": USER["content"],
        "chosen": SHORT["content"],
        "rejected": LONG["content"],
    },
    "sharegpt-ranking": {
        "conversations": [{"from": "human", "value": USER["content"]}],
        "chosen": {"from": "gpt", "value": SHORT["content"]},
        "rejected": {"from": "gpt", "value": LONG["content"]},
    },
    "openai-preference": {
        "input": {"messages": [USER], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [SHORT],
        "non_preferred_output": [LONG],
    },
    "label-studio": {
        "id": 3,
        "data": {"prompt": USER["content"], "answer1": SHORT["content"], "answer2": LONG["content"]},
        "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
    },
    "argilla": {
        "id": "8",
        "fields": {"prompt": USER["content"], "response1": SHORT["content"], "response2": LONG["content"]},
        "responses": {"preference": [{"value": "response1", "user_id": "1"}]},
        "metadata": {"source": "web"},
        "suggestions": {},
        "vectors": {},
    },
    "oasst-trees": {
        "message_tree_id": "t1",
        "tree_state": "ready_for_export",
        "prompt": {
            "message_id": "m1",
            "text": USER["content"],
            "role": "prompter",
            "lang": "en",
            "replies": [
                {"message_id": "m2", "text": SHORT["content"], "role": "assistant", "rank": 1, "replies": []},
                {"message_id": "m3", "text": LONG["content"], "role": "assistant", "rank": 0, "replies": []},
            ],
        },
    },
    "open-webui": {
        "id": "f1",
        "user_id": "u1",
        "type": "rating",
        "data": {"rating": -1, "model_id": "a", "sibling_model_ids": ["b"], "reason": "not_factual"},
        "meta": {"arena": True, "chat_id": "c1", "message_id": "m2"},
        "snapshot": {
            "chat": {
                "id": "c1",
                "chat": {
                    "history": {
                        "messages": {
                            "m1": USER | {"id": "m1", "parentId": None, "childrenIds": ["m2", "m3"]},
                            "m2": SHORT | {"id": "m2", "parentId": "m1", "childrenIds": [], "model": "a"},
                            "m3": LONG | {"id": "m3", "parentId": "m1", "childrenIds": [], "model": "b"},
                        }
                    }
                },
            }
        },
    },
    "trl": {"prompt": [USER], "chosen": [SHORT], "rejected": [LONG]},
    "trl-implicit": {"chosen": [USER, SHORT], "rejected": [USER, LONG]},
    "table": {"prompt": USER["content"], "response_1": SHORT["content"], "response_2": LONG["content"]},
}
