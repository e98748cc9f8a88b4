"""What other systems call our fields, for errors that say what to write instead."""

OTHER_NAMES = {
    "train.learning_rate": "lr base_lr lr0 initial_lr eta",
    "train.steps": "epochs epoch num_epochs max_epochs max_iter iterations num_iterations steps_per_epoch",
    "train.milestones": "lr_steps lr_milestones decay_steps lr_step_size step_size",
    "train.warmup_steps": "warmup warmup_iters warmup_epochs",
    "train.momentum": "beta sgd_momentum learning_momentum",
    "train.weight_decay": "wd l2 l2_weight_decay decay",
    "train.norm_weight_decay": "weight_decay_norm norm_decay",
    "train.clip_norm": "grad_clip gradient_clip clip_gradients gradient_clip_norm gradient_clip_val",
    "train.batch_size": "batch bs ims_per_batch images_per_gpu samples_per_gpu train_batch_size batchsize",
    "train.checkpoint_every": "checkpoint_period save_every save_interval save_steps",
    "train.evaluate_every": "eval_period eval_every eval_interval val_interval validation_steps",
    "train.keep_checkpoints": "max_keep max_to_keep save_total_limit",
    "train.precision": "amp fp16 bf16 dtype mixed_precision half",
    "train.seed": "random_seed rng_seed",
    "train.strategy": "gpus num_gpus devices accelerator gpu_count",
    "train.init_weights": "pretrained checkpoint resume_from init_checkpoint load_from weights",
    "backbone.weights": "pretrained_backbone weights_backbone backbone_weights",
    "backbone.name": "arch architecture encoder backbone_name",
    "backbone.frozen_stages": "freeze_at freeze trainable_layers trainable_backbone_layers",
    "num_classes": "nc n_classes classes num_labels class_count",
    "input.short_side": "img_size imgsz image_size size min_size_test image_min_dim min_dimension",
    "input.train_short_sides": "min_size_train multi_scale scales",
    "input.long_side": "max_size max_size_test max_size_train image_max_dim max_dimension",
    "input.mean": "pixel_mean image_mean mean_pixel",
    "input.std": "pixel_std image_std",
    "input.horizontal_flip": "fliplr flip random_flip hflip flip_prob",
    "input.max_instances": "max_gt_instances max_objects max_gt",
    "input.mask_crop_size": "mini_mask_shape",
    "anchors.sizes": "anchor_sizes anchor_scales rpn_anchor_scales scales",
    "anchors.ratios": "anchor_ratios aspect_ratios rpn_anchor_ratios",
    "anchors.strides": "anchor_strides rpn_anchor_stride backbone_strides feature_strides",
    "rpn.nms_iou": "nms nms_thresh nms_threshold rpn_nms_threshold rpn_nms_thresh iou_threshold",
    "rpn.pre_nms": "pre_nms_topk pre_nms_topk_test pre_nms_limit rpn_pre_nms_top_n_test",
    "rpn.post_nms": "post_nms_topk post_nms_topk_test post_nms_rois_inference rpn_post_nms_top_n_test",
    "rpn.train_pre_nms": "pre_nms_topk_train rpn_pre_nms_top_n_train",
    "rpn.train_post_nms": "post_nms_topk_train post_nms_rois_training rpn_post_nms_top_n_train",
    "rpn.samples": "rpn_batch_size_per_image rpn_train_anchors_per_image",
    "rpn.positive_iou": "rpn_fg_iou_thresh fg_iou_thresh",
    "rpn.negative_iou": "rpn_bg_iou_thresh bg_iou_thresh",
    "box_head.nms_iou": "nms nms_thresh nms_threshold box_nms_thresh nms_thresh_test detection_nms_threshold "
    "iou_threshold iou",
    "box_head.score_threshold": "conf confidence score_thresh score_thresh_test box_score_thresh threshold "
    "detection_min_confidence conf_thres",
    "box_head.max_detections": "max_det detections_per_image box_detections_per_img detection_max_instances",
    "box_head.samples": "roi_batch_size batch_size_per_image box_batch_size_per_image train_rois_per_image",
    "box_head.positive_fraction": "roi_positive_ratio box_positive_fraction",
    "box_head.delta_weights": "bbox_reg_weights rpn_bbox_std_dev bbox_std_dev",
    "box_head.pool_size": "pooler_resolution",
    "mask_head.pool_size": "mask_pool_size pooler_resolution",
    "roi_align.sampling_ratio": "pooler_sampling_ratio sampling_points",
    "data.train_annotations": "train_json annotations ann_file train_ann",
    "data.train_images": "train_dir image_dir images img_prefix data_root",
    "data.val_annotations": "val_json val_ann",
    "data.val_images": "val_dir",
}


def fields_of(other_name):
    """Returns our fields that another system calls `other_name`, such as "SOLVER.IMS_PER_BATCH"."""
    wanted = other_name.rpartition(".")[2].lower().replace("-", "_")
    return [field for field, names in OTHER_NAMES.items() if wanted in names.split()]
