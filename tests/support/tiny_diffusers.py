"""Saves a tiny Stable Diffusion XL and a tiny Stable Video Diffusion, of random weights, in the
folders `sdxl` and `svd` of the folder that is given. Needs no network; their pictures are noise."""

import json
import os
import sys

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    StableVideoDiffusionPipeline,
    UNet2DConditionModel,
    UNetSpatioTemporalConditionModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)


def tokenizer(folder):
    """One token a letter."""
    os.makedirs(folder, exist_ok=True)
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    words = letters + [c + "</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump({word: number for number, word in enumerate(words)}, file)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
    return CLIPTokenizer(
        os.path.join(folder, "vocab.json"),
        os.path.join(folder, "merges.txt"),
        model_max_length=77,
        pad_token="<|endoftext|>",
    )


def text_encoder(cls, tokens):
    start, end = tokens.bos_token_id, tokens.eos_token_id
    return cls(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=37,
            projection_dim=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
            hidden_act="gelu",
        )
    ).eval()


def sdxl(folder):
    tokens = tokenizer(os.path.join(folder, "letters"))
    blocks = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=blocks[0],
        up_block_types=blocks[1],
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        # Six numbers for the sizes, and the pooled text.
        projection_class_embeddings_input_dim=6 * 8 + 32,
        cross_attention_dim=64,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64,
    )
    StableDiffusionXLPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder(CLIPTextModel, tokens),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, tokens),
        tokenizer=tokens,
        tokenizer_2=tokens,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012,
                                         beta_schedule="scaled_linear", steps_offset=1,
                                         timestep_spacing="leading"),
        add_watermarker=False,
    ).save_pretrained(folder)


def svd(folder):
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        num_attention_heads=(2, 4),
        cross_attention_dim=32,
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        sample_size=64,
    )
    eye = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32, projection_dim=32, num_hidden_layers=2, num_attention_heads=4,
            image_size=224, intermediate_size=37, patch_size=32,
        )
    ).eval()
    StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=eye,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            prediction_type="v_prediction", timestep_type="continuous", sigma_min=0.002,
            sigma_max=700.0, steps_offset=1, timestep_spacing="leading", use_karras_sigmas=True,
            interpolation_type="linear",
        ),
        feature_extractor=CLIPImageProcessor(crop_size=224, size=224),
    ).save_pretrained(folder)


torch.manual_seed(1)
sdxl(os.path.join(sys.argv[1], "sdxl"))
svd(os.path.join(sys.argv[1], "svd"))
